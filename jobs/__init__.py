"""What a job is and what may happen to it. Imports nothing of ours, no Celery and no HTTP."""
