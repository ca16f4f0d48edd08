"""The image contains only what it needs, and its health check says whether a container works."""

import re
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Final

import pytest
import redis

from config.settings import RedisSettings, RescueSettings, variables
from jobs.ledger import Ledger
from ops.image import health
from tests.stage import ROOT, Clock, Stage, child, eventually

DOCKERFILE: Final = (ROOT / "ops/image/Dockerfile").read_text()
IGNORED: Final = (ROOT / ".dockerignore").read_text().splitlines()
PACKAGES: Final = {"config", "jobs", "worker", "producer", "ops"}
ME: Final = f"worker@{socket.gethostname()}"
SEEN_AS: Final = f"{ME}.a1b2c3"


def test_only_what_is_listed_reaches_the_builder() -> None:
    """An allow list also keeps out future secrets."""
    rules = [line for line in IGNORED if line and not line.startswith("#")]

    assert rules[0] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == PACKAGES | {"requirements/image.txt"}


def test_the_image_is_made_of_the_packages_and_locked_requirements() -> None:
    """It has no tests, no history, no build tools, and only tested package versions."""
    final = DOCKERFILE.rpartition("\nFROM ")[2]

    assert set(re.findall(r"^COPY (\S+) \S+$", final, re.MULTILINE)) == PACKAGES
    assert "pip" not in re.sub(r"#.*", "", final)
    assert "--require-hashes" in DOCKERFILE
    assert "--only-binary :all:" in DOCKERFILE


def test_the_image_builds_anywhere() -> None:
    """It needs no Dockerfile frontend, and its base can be replaced."""
    assert "syntax=" not in DOCKERFILE
    assert re.search(r"^ARG PYTHON_IMAGE=python:3\.\d+-slim$", DOCKERFILE, re.MULTILINE)
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["${PYTHON_IMAGE}"] * 2


def test_a_container_runs_as_a_fixed_user_and_stops_warmly() -> None:
    """Volumes stay readable after an upgrade, and running purchases finish."""
    assert re.search(r"^USER 10001:10001$", DOCKERFILE, re.MULTILINE)
    assert re.search(r"^STOPSIGNAL SIGTERM$", DOCKERFILE, re.MULTILINE)


def test_workers_send_each_other_nothing_and_share_no_name() -> None:
    """Gossip grows with the square of the fleet; two workers of one name look like one."""
    assert {"--without-gossip", "--without-mingle", "--without-heartbeat", "worker@%h"} <= set(
        re.findall(r'"([^"]+)"', DOCKERFILE)
    )


@pytest.fixture
def here(redis_url: str, client: "redis.Redis", monkeypatch: pytest.MonkeyPatch) -> "redis.Redis":
    """Point the health check to the test's Redis."""
    monkeypatch.setenv("RUSHES_REDIS__URL", redis_url)
    monkeypatch.delenv("RUSHES_RESCUE__EVERY_S", raising=False)
    return client


def test_a_worker_that_was_just_seen_is_healthy(here: "redis.Redis") -> None:
    """The rescuer writes the worker's sign of life."""
    Ledger(here).worker_seen(SEEN_AS, "1.0")

    assert health.main(["worker"]) == 0


def test_a_real_worker_is_healthy_by_the_name_that_it_gives_itself(here: "redis.Redis", stage: Stage) -> None:
    """It uses the image's command and health check."""
    assert here is stage.client
    command = [sys.executable, "-m", "celery", "-A", "worker.app", "worker", "--hostname", "worker@%h"]
    with child(command, stage.folder / "worker.log", stage.environment):
        eventually(lambda: health.main(["worker"]) == 0, what="a healthy worker")


@pytest.mark.usefixtures("here")
def test_a_worker_that_was_never_seen_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    """`docker inspect` shows the reason."""
    assert health.main(["worker"]) == 1
    assert f"{ME} has not been seen for 30 s" in capsys.readouterr().err


def test_a_worker_without_recent_signs_of_life_is_not(here: "redis.Redis") -> None:
    """A hanging thread writes no sign of life."""
    Ledger(here, clock=Clock(Ledger(here).now() - 60)).worker_seen(SEEN_AS, "1.0")

    assert health.main(["worker"]) == 1


def test_a_worker_whose_rescuer_seldom_runs_is_given_time(here: "redis.Redis", monkeypatch: pytest.MonkeyPatch) -> None:
    """It writes one sign of life per round of its rescuer."""
    monkeypatch.setenv("RUSHES_RESCUE__EVERY_S", "60")
    Ledger(here, clock=Clock(Ledger(here).now() - 60)).worker_seen(SEEN_AS, "1.0")

    assert health.main(["worker"]) == 0


def test_a_variable_left_empty_is_one_not_set(here: "redis.Redis", monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty value in `.env` must not make every worker unhealthy."""
    monkeypatch.setenv("RUSHES_RESCUE__EVERY_S", "")
    Ledger(here).worker_seen(SEEN_AS, "1.0")

    assert health.main(["worker"]) == 0


def test_without_redis_no_worker_is_healthy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A worker cannot work without Redis."""
    monkeypatch.setenv("RUSHES_REDIS__URL", f"redis://:hunter2@127.0.0.1:{_unused_port()}/0")

    assert health.main(["worker"]) == 1
    error = capsys.readouterr().err
    assert "the ledger cannot be used" in error
    assert "hunter2" not in error


def test_the_check_reads_the_settings_own_variables() -> None:
    """It does not import the settings, so this test compares them."""
    assert {"RUSHES_REDIS__URL", "RUSHES_RESCUE__EVERY_S"} <= set(variables())
    assert RescueSettings().every_s == health.RESCUE_EVERY_S
    assert RedisSettings().url.get_secret_value() == health.REDIS_URL


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    """Run a server that answers health checks only."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path in {"/healthcheck", "/healthz", "/sandbox/health"} else 404)
            self.end_headers()

        def log_message(self, *_ignored: object) -> None:
            """Log nothing."""

    with HTTPServer(("127.0.0.1", 0), Answers) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield listening
        listening.shutdown()
        thread.join()


@pytest.mark.parametrize("role", ["api", "flower", "sandbox"])
def test_what_answers_is_healthy(role: str, server: HTTPServer) -> None:
    """The check calls the role's page."""
    assert health.main([role], pages=pages_at(server.server_port)) == 0


@pytest.mark.parametrize("role", ["api", "flower", "sandbox"])
def test_what_does_not_answer_is_not(role: str) -> None:
    """A closed port is unhealthy."""
    assert health.main([role], pages=pages_at(_unused_port())) == 1


def test_an_unknown_role_is_a_mistake() -> None:
    """A typo in a compose file must not look healthy."""
    assert health.main(["wroker"]) == 1


def pages_at(port: int) -> dict[str, tuple[int, str]]:
    """Each role's page, at this port."""
    return {role: (port, path) for role, (_, path) in health.PAGES.items()}


def _unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
