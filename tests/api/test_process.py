"""The API as a process: how it is started, and how it ends."""

import signal
import sys
from pathlib import Path

import httpx2
import pytest
import requests

from config.settings import Settings
from ops.stack.recipe import free_port
from producer.api.application import make_app
from tests.api.conftest import answers
from tests.stage import child, eventually


def test_uvicorn_can_run_it_by_its_name(redis_url: str, tmp_path: Path) -> None:
    """For those who have a process manager of their own."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "producer.api:app", "--port", str(port)]

    with child(command, tmp_path / "log", {"RUSHES_REDIS__URL": redis_url}):
        eventually(lambda: answers(f"http://127.0.0.1:{port}"), what="uvicorn's start")
        assert requests.get(f"http://127.0.0.1:{port}/openapi.json", timeout=10).json()["info"]["title"] == "Rushes"


def test_wrong_settings_stop_it_with_a_sentence(tmp_path: Path) -> None:
    """Not with a traceback."""
    with child([sys.executable, "-m", "producer.api"], tmp_path / "log", {"RUSHES_API__PORT": "99999"}) as process:
        assert process.wait(30) == 1

    assert (tmp_path / "log").read_text().startswith("The settings are invalid.\n  RUSHES_API__PORT")


def test_it_ends_when_asked_to(redis_url: str, tmp_path: Path) -> None:
    """SIGTERM, and nothing under way: at once and in good order."""
    port = free_port()
    environment = {"RUSHES_REDIS__URL": redis_url, "RUSHES_API__PORT": str(port)}
    with child([sys.executable, "-m", "producer.api"], tmp_path / "log", environment) as process:
        eventually(lambda: answers(f"http://127.0.0.1:{port}"), what="the API's start")
        process.send_signal(signal.SIGTERM)

        assert process.wait(15) in {0, -signal.SIGTERM}

    assert "Traceback" not in (tmp_path / "log").read_text()


def test_without_keys_it_does_not_listen_beyond_this_machine(tmp_path: Path) -> None:
    """Anybody who could reach it could buy."""
    environment = {"RUSHES_API__AUTH": "off", "RUSHES_API__HOST": "0.0.0.0"}
    with child([sys.executable, "-m", "producer.api"], tmp_path / "log", environment) as process:
        assert process.wait(30) == 1

    assert "auth is off, so host must be 127.0.0.1" in (tmp_path / "log").read_text()


@pytest.mark.anyio
async def test_without_keys_a_peer_from_elsewhere_is_refused(redis_url: str) -> None:
    """However the app was made to listen there."""
    settings = Settings.model_validate({"redis": {"url": redis_url}, "api": {"auth": "off"}})
    transport = httpx2.ASGITransport(make_app(settings), client=("192.0.2.7", 40_000))
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as stranger:
        answer = await stranger.get("/v1/videos")

    assert (answer.status_code, answer.json()["code"]) == (403, "not_local")
