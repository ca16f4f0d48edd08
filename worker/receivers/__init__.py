"""The receivers of ends: hooks, the database, webhook endpoints."""
