"""The container image: its build, its health check, and a Compose stack with the sandbox."""
