"""What a deployment may choose: settings, the Celery app, logging."""
