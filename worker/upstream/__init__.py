"""The upstream: sends it requests, and reads what its replies prove."""
