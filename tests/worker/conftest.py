"""Servers of this folder's tests."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worker.servers import Server


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that answers as the test arranges."""
    with Server.started() as started:
        yield started


@pytest.fixture
def other_server() -> Iterator[Server]:
    """Another host, from a client's point of view."""
    with Server.started() as started:
        yield started


@pytest.fixture
def secured_server(certificate: Path) -> Iterator[Server]:
    """A server whose certificate nobody has signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with Server.started(context) as started:
        yield started


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clear the proxy variables, so that tests connect to this machine only."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
