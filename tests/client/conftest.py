"""The API's own parts, for its client."""

from tests.api.conftest import anyio_backend, api, archive, real_ledger, shared_api, staged_api

__all__ = ["anyio_backend", "api", "archive", "real_ledger", "shared_api", "staged_api"]
