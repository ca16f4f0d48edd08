"""A program that was written for the upstream runs against Rushes with another address and key, and nothing else."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from typing import Any

import pytest
import requests

from jobs.job import Charged, Reason
from jobs.ledger import Ledger
from jobs.states import State
from ops.stack.recipe import free_port
from tests import steps
from tests.api.conftest import BYTES, Api, bought, completed
from tests.stage import ROOT, Stage, child, eventually

ANY, GOOGLE = "/v2/video/generations", "/v2/generate/video/google/generation"
PYTHON_PROGRAM = ROOT / "tests/sandbox/seed_program.py.txt"
NODE_PROGRAM = Path(__file__).with_name("seed_program.js.txt")
PLACE, KEY = "https://api.aimlapi.com/v2", '"<YOUR_AIMLAPI_KEY>"'


@pytest.mark.parametrize("path", [ANY, GOOGLE])
def test_a_generation_has_the_upstreams_shape_from_submit_to_video(api: Api, real_ledger: Ledger, path: str) -> None:
    """The same words at each step, on both endpoints."""
    submitted = api.post(path, {"model": "google/veo3", "prompt": "a boat"}, X_Client_Request_Id="shop-17")
    job_id = submitted.json()["id"]

    def poll() -> dict[str, Any]:
        found: dict[str, Any] = api.get(f"{path}?generation_id={job_id}").json()
        return found

    assert (submitted.status_code, submitted.json()) == (201, {"id": job_id, "status": "queued"})
    assert submitted.headers["x-inference-id"] == job_id
    assert submitted.headers["x-client-request-id"] == "shop-17"
    assert poll() == {"id": job_id, "status": "queued"}
    bought(real_ledger, job_id)
    assert poll() == {"id": job_id, "status": "generating"}


def test_a_finished_video_is_linked_and_needs_no_key(api: Api, real_ledger: Ledger, archive: Path) -> None:
    """As at the upstream; the link is signed, so that nobody can make one up."""
    job_id = api.post(ANY, {"model": "google/veo3", "prompt": "a boat"}).json()["id"]
    completed(real_ledger, job_id, archive)

    polled = api.get(f"{GOOGLE}?generation_id={job_id}").json()

    video = polled["video"]
    assert (polled["status"], video["content_type"], video["file_size"]) == ("completed", "video/mp4", len(BYTES))
    assert video["url"].startswith(f"{api.url}/v2/files/{job_id}.mp4?")
    assert requests.get(video["url"], timeout=30).content == BYTES
    assert requests.get(video["url"], headers={"Range": "bytes=0-9"}, timeout=30).content == BYTES[:10]
    for forged in (
        video["url"][:-1],
        re.sub(r"until=\d+", "until=99999999999", video["url"]),
        video["url"].split("?")[0],
    ):
        assert requests.get(forged, timeout=30).status_code == 404


def test_a_failure_has_the_upstreams_words(api: Api, real_ledger: Ledger) -> None:
    """Always HTTP 200: the status word says it."""
    job_id = api.post(ANY, {"model": "google/veo3", "prompt": "a boat"}).json()["id"]
    verdict = steps.ended(State.FAILED, Reason.GENERATION_FAILED, "no dragons today", Charged.NO)
    bought(real_ledger, job_id)
    steps.end(real_ledger, real_ledger.get(job_id), verdict)

    answer = api.get(f"{ANY}?generation_id={job_id}")

    assert (answer.status_code, answer.json()) == (
        200,
        {"id": job_id, "status": "error", "error": {"name": "Error", "message": "no dragons today"}},
    )


def test_a_refusal_has_the_upstreams_envelope(api: Api) -> None:
    """A client reads `error.data[].path`, as it did before."""
    refused = api.post(ANY, {"model": "google/veo3", "prompt": "a boat", "resolution": "768P"})
    unknown = api.get(f"{ANY}?generation_id=job_01kb0000000000000000000000")
    empty = api.get(ANY)

    body = refused.json()
    assert (refused.status_code, body["status"], body["title"]) == (400, 400, "Bad Request")
    assert (body["error"]["name"], body["instance"]) == ("BadRequestException", f"{ANY}?")
    assert body["error"]["data"][0]["path"] == ["resolution"]
    assert "720P" in body["error"]["data"][0]["message"]
    assert (unknown.status_code, unknown.json()["error"]["name"]) == (404, "NotFoundException")
    assert (empty.status_code, empty.json()["status"]) == (200, "unknown")


def test_a_submit_may_carry_an_idempotency_key(api: Api) -> None:
    """The upstream knows none; a client that sends ours may repeat a submit that had no reply."""
    ids = {
        api.post(path, {"model": "google/veo3", "prompt": "a boat"}, Idempotency_Key="order-1").json()["id"]
        for path in (ANY, GOOGLE)
    }

    assert len(ids) == 1


# -- the documentation's own programs -------------------------------------------------------------------------------


def adapted(program: Path, place: str, key: str, into: Path) -> Path:
    """The program with another address and key; nothing else may differ."""
    text = program.read_text()
    changed = text.replace(PLACE, f"{place}/v2").replace(KEY, f'"{key}"')
    differing = [old for old, new in zip(text.splitlines(), changed.splitlines(), strict=True) if old != new]
    assert len(differing) == 2, differing
    into.write_text(changed)
    return into


def gets_its_video(ran: "subprocess.CompletedProcess[str]", stage: Stage) -> None:
    """It ended well, saw the states go by, and was given a link to a video that is there."""
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout
    assert "Status: completed" in ran.stdout
    assert "Processing complete:" in ran.stdout
    found = re.search(r"https?://[^'\s]+\.mp4[^'\s]*", ran.stdout)
    assert found, ran.stdout
    clip = requests.get(found[0], timeout=30, verify=False).content
    assert clip[4:8] == b"ftyp"
    assert list(stage.sandbox.purchases().values()) == [1]


@pytest.mark.long
def test_the_python_program_of_the_upstreams_page_gets_its_video(stage: Stage, staged_api: Api, tmp_path: Path) -> None:
    """A script without a key of ours, a retry or a timeout: its request is durable all the same."""
    script = adapted(PYTHON_PROGRAM, staged_api.url, "any", tmp_path / "program.py")

    with stage.worker():
        ran = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=90, check=False)

    gets_its_video(ran, stage)


@contextmanager
def over_tls(stage: Stage, folder: Path) -> Iterator[tuple[str, Path]]:
    """An API that speaks TLS with a certificate of its own, for the length of a test."""
    key, certificate, port = folder / "tls.key", folder / "tls.pem", free_port()
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(certificate)]
    made += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(made, check=True, capture_output=True)
    command = [sys.executable, "-m", "uvicorn", "producer.api:app", "--port", str(port)]
    command += ["--ssl-keyfile", str(key), "--ssl-certfile", str(certificate)]
    url = f"https://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return requests.get(f"{url}/healthz", timeout=1, verify=str(certificate)).ok
        except requests.RequestException:
            return False

    with child(command, folder / "api.log", stage.environment | {"RUSHES_API__AUTH": "off"}):
        eventually(answers, what="the start of the API over TLS")
        yield url, certificate


@pytest.mark.long
@pytest.mark.skipif(which("node") is None, reason="there is no Node here")
@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")  # the certificate is our own
def test_the_javascript_program_of_the_upstreams_page_gets_its_video(stage: Stage, tmp_path: Path) -> None:
    """It insists on https, so the API speaks TLS."""
    with over_tls(stage, tmp_path) as (url, certificate), stage.worker():
        script = adapted(NODE_PROGRAM, url, "any", tmp_path / "program.js")
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "NODE_EXTRA_CA_CERTS": str(certificate)}
        ran = subprocess.run(
            [str(which("node")), script], capture_output=True, text=True, timeout=90, check=False, env=environment
        )
        gets_its_video(ran, stage)
