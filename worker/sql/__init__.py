"""The database of results: one row for each ended job, in SQLite or PostgreSQL, readable by any tool."""
