"""The API's own parts, for its client."""

from tests.api.conftest import api, archive, real_ledger, shared_api, staged_api

__all__ = ["api", "archive", "real_ledger", "shared_api", "staged_api"]
