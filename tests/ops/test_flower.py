"""Flower: who may see its pages, and from where."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from ops.stack.recipe import free_port, is_free
from tests.stage import child, eventually

PAGES = (
    "/",
    "/workers",
    "/tasks",
    "/broker",
    "/metrics",
    "/healthcheck",
    "/api/workers",
    "/static/css/flower.css",
    "/x",
)


@contextmanager
def a_flower(
    folder: Path, redis_url: str, *options: str, port: int = 0, around: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Run `rushes flower` until it answers; yields its URL."""
    port = port or free_port()
    given = {"RUSHES_REDIS__URL": redis_url, "RUSHES_FLOWER__PORT": str(port), **(around or {})}
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "ops.cli", "flower", *options]
    with child(command, folder / "flower.log", given) as process:
        eventually(lambda: process.poll() is not None or status(url) is not None, what="Flower's start")
        assert process.poll() is None, (folder / "flower.log").read_text()
        yield url


def status(url: str, **headers: str) -> int | None:
    """Return the status of a GET, or None if nothing answers."""
    try:
        return requests.get(url, headers=headers, timeout=10, allow_redirects=False).status_code
    except requests.ConnectionError:
        return None


@pytest.mark.parametrize("options", [(), ("--url-prefix=under",)])
def test_without_a_password_it_answers_to_names_of_this_machine_only(
    tmp_path: Path, redis_url: str, options: tuple[str, ...]
) -> None:
    """A web page's name may resolve to 127.0.0.1 (DNS rebinding); the browser then sends that name."""
    prefix = "/under" if options else ""
    with a_flower(tmp_path, redis_url, *options) as url:
        port = url.rpartition(":")[2]
        for host in ("127.0.0.1", f"127.0.0.1:{port}", f"localhost:{port}", "LOCALHOST", "[::1]", f"[::1]:{port}"):
            assert status(f"{url}{prefix}/workers", Host=host) == 200, host
        assert status(f"{url}{prefix}/workers", Origin=f"http://localhost:{port}") == 200
        for host in (
            "evil.example",
            f"evil.example:{port}",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "[",
            "",
        ):
            for page in PAGES:
                assert status(f"{url}{prefix}{page}", Host=host) in {400, 403}, (host, page)
        for origin in ("http://evil.example", "null", "http://["):
            assert status(f"{url}{prefix}/workers", Origin=origin) == 403, origin
        refused = requests.post(f"{url}{prefix}/api/worker/shutdown/w", headers={"Host": "evil.example"}, timeout=10)
        assert refused.status_code == 403
        assert "RUSHES_FLOWER__BASIC_AUTH" in refused.text


@pytest.mark.parametrize("name", ["RUSHES_FLOWER__BASIC_AUTH", "FLOWER_BASIC_AUTH"])
def test_with_a_password_it_answers_to_any_name(tmp_path: Path, redis_url: str, name: str) -> None:
    """A deployment behind a proxy has another name."""
    with a_flower(tmp_path, redis_url, around={name: "ann:secret"}) as url:
        assert status(f"{url}/workers", Host="flower.example") == 401
        answer = requests.get(f"{url}/workers", headers={"Host": "flower.example"}, auth=("ann", "secret"), timeout=10)
        assert answer.status_code == 200


@pytest.mark.parametrize("by", ["option", "variable"])
def test_an_option_or_variable_of_flower_overrides_our_default(tmp_path: Path, redis_url: str, by: str) -> None:
    """All options of `celery flower` are passed on."""
    port, default = free_port(), free_port()
    option, variable = ((f"--port={port}",), {}) if by == "option" else ((), {"FLOWER_PORT": str(port)})
    with a_flower(
        tmp_path, redis_url, *option, port=port, around={"RUSHES_FLOWER__PORT": str(default), **variable}
    ) as url:
        assert status(f"{url}/workers") == 200
        assert is_free(default)
