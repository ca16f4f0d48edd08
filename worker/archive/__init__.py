"""The archive: our copies of the videos, fetched, checked, and named after their jobs."""
