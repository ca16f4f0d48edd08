"""The process: its start, its messages, its end."""

import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
import requests

from tests.sandbox.conftest import Start
from tests.sandbox.harness import QUICK, command, until


def ended(*options: str) -> "subprocess.CompletedProcess[str]":
    """Run a sandbox that fails to start."""
    return subprocess.run(command(*options), capture_output=True, text=True, timeout=30, check=False)


def test_it_prints_its_address_and_key(start: Start) -> None:
    """It prints one line once it listens."""
    sandbox = start(*QUICK, "--api-key=open-sesame")
    assert sandbox.process.stdout
    line = sandbox.process.stdout.readline()
    assert sandbox.url in line
    assert "open-sesame" in line
    assert "Ctrl-C" in line
    assert sandbox.get("/v2/billing", key="open-sesame").status_code == 200


def test_a_port_in_use_is_one_sentence() -> None:
    """The error is a sentence, not a traceback."""
    with socket.socket() as occupied:
        occupied.bind(("127.0.0.1", 0))
        occupied.listen()
        port = occupied.getsockname()[1]
        died = ended(f"--port={port}")
    assert died.returncode == 1
    assert died.stderr.strip().count("\n") == 0
    assert f"Port {port} on 127.0.0.1 is in use" in died.stderr


@pytest.mark.parametrize("option", ["--time-scale=0", "--latency-median-s=-1", "--render-processes=0", "--port=70000"])
def test_a_setting_out_of_bounds_is_one_sentence(option: str) -> None:
    """The sentence names the setting."""
    died = ended(option)
    assert died.returncode == 1
    assert option.partition("=")[0].removeprefix("--").replace("-", "_") in died.stderr
    assert "Traceback" not in died.stderr


def test_settings_come_from_the_environment_too(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line overrides them."""
    monkeypatch.setenv("RUSHES_SANDBOX__BALANCE_USD", "7")
    monkeypatch.setenv("RUSHES_SANDBOX__TIME_SCALE", "3")
    sandbox = start(*QUICK, "--time-scale=10")
    assert sandbox.get("/v2/billing").json()["current_balance"] == 7.0
    assert sandbox.process.stdout
    assert "10x" in sandbox.process.stdout.readline()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_quickly_with_requests_in_flight(start: Start, number: signal.Signals) -> None:
    """Hung submits and slow downloads are aborted, and no client gets a made-up status."""
    sandbox = start(*QUICK)
    url = sandbox.video_url("[sandbox: cdn=slow seconds=60]")
    with ThreadPoolExecutor() as clients, requests.Session() as other:
        key = {"Authorization": "Bearer sandbox-key"}
        body = {"model": "google/veo3", "prompt": "[sandbox: submit=hang]"}
        hung = clients.submit(other.post, f"{sandbox.url}/v2/video/generations", json=body, headers=key, timeout=30)
        slow = clients.submit(sandbox.session.get, url, timeout=30)
        until(lambda: counters_of(sandbox.url)["submits"] == 2 or None)
        until(lambda: counters_of(sandbox.url)["cdn_gets"] == 1 or None)
        begun = time.monotonic()
        sandbox.process.send_signal(number)
        assert sandbox.process.wait(10) == 0
        assert time.monotonic() - begun < 3
        for reply in (hung, slow):
            with pytest.raises(requests.RequestException):
                reply.result(timeout=10)
    assert sandbox.process.stdout
    assert "Traceback" not in sandbox.process.stdout.read()


def counters_of(url: str) -> dict[str, int]:
    """Read the counters over a separate connection."""
    found: dict[str, int] = requests.get(f"{url}/sandbox/requests", timeout=5).json()
    return found


def test_no_render_process_outlives_a_kill(start: Start) -> None:
    """They end when their input ends."""
    sandbox = start("--latency-median-s=0", "--latency-minimum-s=0", "--render-processes=1")
    sandbox.download(sandbox.video_url(duration=4, generate_audio=False))
    renderers = psutil.Process(sandbox.process.pid).children()
    assert renderers
    sandbox.process.kill()
    sandbox.process.wait()
    until(lambda: True if not any(renderer.is_running() for renderer in renderers) else None)
