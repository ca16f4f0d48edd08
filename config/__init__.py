"""The configuration of a deployment: settings, Redis, the Celery app, the archive store, logging."""
