"""Who gets the ends of jobs: hooks, the database, webhook endpoints."""
