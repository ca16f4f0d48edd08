"""The service that renders: how it is asked, and what its replies prove."""
