"""A real API process on a real stage; one for all the tests of a worker process, over its own Redis."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import pytest
import requests

from jobs.artifacts import Artifact, path_of
from jobs.job import Job, Stored
from jobs.ledger import Ledger
from jobs.states import FollowUp, State
from ops.stack.recipe import ALLOCATOR, free_port
from tests import steps
from tests.stage import Stage, child, eventually

BYTES: Final = bytes(range(256)) * 40
PATIENCE_S: Final = 30


@dataclass
class Api:
    """A running API and the few requests that tests make of it."""

    url: str
    log: Path
    key: str | None = None
    process: "subprocess.Popen[bytes] | None" = None

    @classmethod
    @contextmanager
    def started(cls, folder: Path, environment: dict[str, str]) -> Iterator[Self]:
        """Start one; it is used once it answers."""
        port, log = free_port(), folder / "api.log"
        url = f"http://127.0.0.1:{port}"
        with child(
            [sys.executable, "-m", "producer.api"],
            log,
            {**ALLOCATOR, "RUSHES_STATE_DIR": str(folder / "state"), **environment, "RUSHES_API__PORT": str(port)},
        ) as process:
            eventually(lambda: process.poll() is not None or answers(url), what="the API's start")
            assert process.poll() is None, log.read_text()
            yield cls(url, log, process=process)

    def get(self, path: str, **headers: str) -> requests.Response:
        """GET; header names are written with underscores."""
        return requests.get(self.url + path, headers=self._headers(headers), timeout=PATIENCE_S)

    def post(self, path: str, json: Any = None, **headers: str) -> requests.Response:
        """POST JSON."""
        return requests.post(self.url + path, json=json, headers=self._headers(headers), timeout=PATIENCE_S)

    def put(self, path: str, json: Any) -> requests.Response:
        """PUT JSON."""
        return requests.put(self.url + path, json=json, headers=self._headers({}), timeout=PATIENCE_S)

    def delete(self, path: str) -> requests.Response:
        """DELETE."""
        return requests.delete(self.url + path, headers=self._headers({}), timeout=PATIENCE_S)

    def submit(self, prompt: str = "a paper boat in the rain", **fields: Any) -> dict[str, Any]:
        """Submit a request that must be accepted."""
        answer = self.post("/v1/videos", {"prompt": prompt, **fields})
        assert answer.status_code == 202, answer.text
        found: dict[str, Any] = answer.json()
        return found

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Nothing of it moves meanwhile."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def _headers(self, given: dict[str, str]) -> dict[str, str]:
        key = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        return key | {name.replace("_", "-"): value for name, value in given.items()}


def answers(url: str) -> bool:
    """Whether an API answers there."""
    try:
        return requests.get(f"{url}/healthz", timeout=1).ok
    except requests.RequestException:
        return False


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive that the shared API reads."""
    return tmp_path_factory.mktemp("archive")


@pytest.fixture(scope="session")
def shared_api(redis_url: str, archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """One API process for many tests."""
    environment = {
        "RUSHES_REDIS__URL": redis_url,
        "RUSHES_ARCHIVE__DIR": str(archive),
        "RUSHES_QUEUE__REQUEST_BYTES": "133000",
        "RUSHES_API__AUTH": "off",
    }
    with Api.started(tmp_path_factory.mktemp("api"), environment) as started:
        yield started


@pytest.fixture
def api(shared_api: Api, client: object) -> Api:  # noqa: ARG001 (the client empties Redis)
    """The shared API over an empty Redis."""
    return shared_api


@pytest.fixture
def real_ledger(client: "Any") -> Ledger:
    """The ledger by Redis's own clock, as the workers hold it."""
    return Ledger(client)


@pytest.fixture
def staged_api(stage: Stage) -> Iterator[Api]:
    """An API of the stage's own, where workers make real videos."""
    with Api.started(stage.folder, stage.environment | {"RUSHES_API__AUTH": "off"}) as started:
        yield started


def bought(ledger: Ledger, job_id: str) -> Job:
    """Take a queued job through its purchase."""
    return steps.walked(ledger, job_id, State.RENDERING, generation_id="generation-1", cost_usd=4.16, first_poll_s=60)


def completed(
    ledger: Ledger,
    job_id: str,
    archive: Path,
    *,
    sha256: str = "ab" * 32,
    size_bytes: int = len(BYTES),
    describe: bool = False,
) -> Job:
    """Take a queued job to its stored video."""
    path = f"2026/11/24/{job_id}.mp4"
    (archive / path).parent.mkdir(parents=True, exist_ok=True)
    (archive / path).write_bytes(BYTES)
    stored = Stored(path, size_bytes, sha256, "video/mp4")
    return steps.walked(
        ledger, job_id, State.COMPLETED, generation_id="generation-1", cost_usd=4.16, stored=stored, describe=describe
    )


def described(ledger: Ledger, job_id: str, archive: Path) -> dict[str, bytes]:
    """Take a queued job to its stored video with everything beside it; returns the bytes of that, by variant."""
    job = completed(ledger, job_id, archive, describe=True)
    assert job.stored is not None
    made = {artifact: f"this is the {artifact}".encode() for artifact in Artifact if artifact is not Artifact.VIDEO}
    for artifact, data in made.items():
        (archive / path_of(artifact, job.stored.path)).write_bytes(data)
    (item,) = steps.claimed_items(ledger, FollowUp.DESCRIBE)
    steps.described(ledger, item, list(made), None)
    return {artifact.value: data for artifact, data in made.items()}
