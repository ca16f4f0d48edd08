"""Accepts requests and answers queries: the service, and the API, client and command line over it."""
