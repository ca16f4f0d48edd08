"""The archive: our copies of the videos, downloaded, checked, and named after their jobs."""
