"""An API with its own Redis, where nobody needs a key."""

from collections.abc import Iterator

import pytest

from tests.api.conftest import Api


@pytest.fixture(scope="module")
def shared_api(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """One API process for a module's tests."""
    environment = {"RUSHES_REDIS__URL": redis_url, "RUSHES_API__AUTH": "off"}
    with Api.started(tmp_path_factory.mktemp("api"), environment) as started:
        yield started


@pytest.fixture
def api(shared_api: Api, client: object) -> Api:
    """The shared API over an empty Redis."""
    del client
    return shared_api
