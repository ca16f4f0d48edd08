"""The minimal ACL in docs/how-to/deploy.md: with it everything works, and doctor names each missing rule."""

import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import redis
import requests

from config.connection import connect
from config.settings import RedisSettings
from jobs.errors import LedgerUnavailable
from jobs.states import State
from ops.permissions import COMMANDS, KEYS, NEWER, channels, missing, rules
from ops.stack.recipe import free_port
from producer.cli.exits import Exit
from tests.api.conftest import Api
from tests.redis_servers import HOST, Server
from tests.stage import ROOT, Sandbox, Stage, a_request, child, eventually

USER: Final = "least"
PASSWORD: Final = "least-password"
FLOWER: Final = ("flower", "flower-password")
ELSEWHERE: Final = shutil.which("redis-server")
VALKEY, DEBIANS = "valkey", "redis-server"


@pytest.fixture(
    params=[
        VALKEY,
        pytest.param(
            DEBIANS,
            marks=pytest.mark.skipif(ELSEWHERE is None, reason="no redis-server here (apt install redis-server)"),
        ),
    ]
)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """Run a server with a user that has exactly the minimal permissions."""
    binary = (ELSEWHERE or "") if request.param == DEBIANS else ""
    with Server.started(tmp_path / "redis", binary=binary) as started:
        permit(started, "on", f">{PASSWORD}", *rules(0, newer=knows_newer(started)))
        yield started


def permit(server: Server, *words: str) -> None:
    """Change the user's permissions, and clear the log of refusals."""
    with server.client as administrator:
        administrator.execute_command("ACL", "SETUSER", USER, *words)
        administrator.acl_log_reset()


def knows_newer(server: Server) -> bool:
    """Whether the server is Redis 7.2 or newer."""
    with server.client as administrator:
        return bool(administrator.execute_command("COMMAND DOCS", "WAITAOF"))


def url_of(server: Server) -> str:
    """Return the server's URL for the user."""
    return f"redis://{USER}:{PASSWORD}@{HOST}:{server.port}/0"


@contextmanager
def staged(server: Server, sandbox: Sandbox, folder: Path) -> Iterator[Stage]:
    """Open a deployment whose processes all use the minimal user; the test itself does not."""
    sandbox.reset()
    with Stage(server.client, url_of(server), sandbox, folder).open() as stage:
        stage.environment |= {"RUSHES_WEBHOOKS__KEYS": "k" * 32, "FLOWER_BASIC_AUTH": ":".join(FLOWER)}
        yield stage


@contextmanager
def flower(stage: Stage) -> Iterator[str]:
    """Run Flower until it answers; yields its URL."""
    url = f"http://{HOST}:{(port := free_port())}"
    command = [
        sys.executable,
        "-m",
        "celery",
        "--app",
        "worker.app",
        "flower",
        f"--port={port}",
        "--enable_events=False",
    ]
    with child(command, stage.folder / "flower.log", stage.environment):
        eventually(lambda: page(f"{url}/healthcheck"), what="Flower's start")
        yield url


def page(url: str) -> str:
    """Return a page of Flower, or an empty string while it does not answer."""
    try:
        answer = requests.get(url, auth=FLOWER, timeout=10)
    except requests.RequestException:
        return ""
    return answer.text if answer.ok else ""


@pytest.mark.long
def test_everything_works_with_the_minimal_permissions(server: Server, sandbox: Sandbox, tmp_path: Path) -> None:
    """Worker, API, command line and Flower take jobs to their ends, and the server refuses nothing."""
    with (
        staged(server, sandbox, tmp_path) as stage,
        stage.worker(name="least") as worker,
        Api.started(tmp_path, stage.environment) as api,
        flower(stage) as shown,
    ):
        issued = stage.rushes("keys", "issue", "--tenant", "shop", "--json")
        api.key = re.findall(r"rushes_[\w-]+", issued.stdout)[0]
        job_id = api.submit()["id"]
        assert stage.ended(job_id).state is State.COMPLETED
        assert stage.rushes("submit", "--wait", "a boat").returncode == Exit.DONE
        sandbox.add_fault(submit="drop", times=1)  # a purchase in doubt, which the upstream's log resolves
        assert stage.ended(stage.service.submit(a_request()).job_id).state is State.COMPLETED
        cancelled = api.submit("a boat [sandbox: latency=300]")["id"]
        assert api.post(f"/v1/videos/{cancelled}/cancel").ok
        assert [entry["id"] for entry in api.get("/v1/videos").json()["data"]]
        assert api.get(f"/v1/videos/{job_id}/events").ok
        assert api.get("/readyz").json()["ready"]
        assert stage.service.fleet(seen_within_s=60).workers == 1
        assert api.delete(f"/v1/videos/{job_id}").ok
        eventually(lambda: "least@test" in page(f"{shown}/workers"), what="the worker on Flower's page")
        eventually(lambda: "least@test" in requests.get(f"{shown}/api/workers?refresh=1", auth=FLOWER, timeout=20).text)
        assert "submit" in page(f"{shown}/broker")
        doctor = stage.rushes("doctor")

        assert doctor.returncode == Exit.DONE, doctor.stdout
        assert "WRONG" not in doctor.stdout
        unsure = [line for line in doctor.stdout.splitlines() if line.startswith("look")]
        assert [line for line in unsure if "WAITAOF" not in line] == []  # Debian's Redis may be older than 7.2
        assert refused(server) == []
        for log in (worker.said(), api.log.read_text(), (tmp_path / "flower.log").read_text()):
            assert "NOPERM" not in log
            assert "forbids" not in log


def refused(server: Server) -> list[dict[str, Any]]:
    """Return the server's log of refusals."""
    with server.client as administrator:
        entries: list[dict[str, Any]] = administrator.acl_log()
    return entries


@pytest.mark.parametrize("rule", rules(0))
def test_a_missing_permission_is_named(least: Server, rule: str) -> None:
    """Each is named, so that a person can grant it."""
    removal = {"~": ("resetkeys",), "&": ("resetchannels", *(f"&{name}" for name in channels(0) if f"&{name}" != rule))}
    permit(least, *removal.get(rule[0], (f"-{rule[1:]}",)))
    try:
        if rule == "+client|setname":  # no connection is made without it
            with pytest.raises(redis.exceptions.NoPermissionError, match=re.escape(rule[1:])):
                lacking(least)
        else:
            assert lacking(least) == [rule]
    finally:
        permit(least, *((rule,) if rule[0] != "&" else map("&{}".format, channels(0))))


def lacking(server: Server, db: int = 0) -> list[str]:
    """Return the rules that doctor finds missing."""
    with connect(RedisSettings.model_validate({"url": url_of(server)}), name="doctor") as client:
        return missing(client, db)


@pytest.fixture(scope="module")
def least(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run one server for all tests of a module."""
    with Server.started(tmp_path_factory.mktemp("least")) as started:
        permit(started, "on", f">{PASSWORD}", *rules(0))
        yield started


def test_looking_for_missing_permissions_changes_nothing(least: Server) -> None:
    """Every command is queued, none is executed."""
    assert lacking(least) == []
    with least.client as administrator:
        assert administrator.keys("*") == []


def test_a_pattern_is_not_its_channels(least: Server) -> None:
    """`&rushes:*` looks sufficient but does not permit PSUBSCRIBE; another database's channels do not either."""
    permit(least, "resetchannels", "&rushes:*")
    try:
        assert lacking(least) == [f"&{name}" for name in channels(0)]
        permit(least, "resetchannels", "&*")
        assert lacking(least) == []
        permit(least, "resetchannels", *map("&{}".format, channels(0)))
        assert lacking(least, db=3) == [f"&{name}" for name in channels(3)]
    finally:
        permit(least, "resetchannels", *map("&{}".format, channels(0)))


@pytest.mark.parametrize("removed", ["-lpush", "-psubscribe", "-waitaof", "-info", "-evalsha", "-zadd", "resetkeys"])
def test_doctor_says_what_to_grant_and_goes_on(removed: str, sandbox: Sandbox, tmp_path: Path) -> None:
    """The command fails, and still makes the other checks."""
    with Server.started(tmp_path / "redis") as server:
        permit(server, "on", f">{PASSWORD}", *rules(0), removed)
        with staged(server, sandbox, tmp_path) as stage:
            doctor = stage.rushes("doctor")

    assert doctor.returncode == Exit.FAILED
    assert f"ACL SETUSER <user> {KEYS if removed == 'resetkeys' else removed.replace('-', '+')} (" in doctor.stdout
    assert "accepts the key" in doctor.stdout
    assert PASSWORD not in doctor.stdout
    assert "Traceback" not in doctor.stderr


def test_a_submit_names_the_command_that_is_forbidden(sandbox: Sandbox, tmp_path: Path) -> None:
    """It names a command even if only a script uses it."""
    with Server.started(tmp_path / "redis") as server:
        permit(server, "on", f">{PASSWORD}", *rules(0), "-zadd")
        with (
            staged(server, sandbox, tmp_path) as stage,
            pytest.raises(LedgerUnavailable, match="rushes doctor") as raised,
        ):
            stage.service.submit(a_request())

    assert "zadd" in str(raised.value)


def test_nothing_is_bought_where_waitaof_is_forbidden(sandbox: Sandbox, tmp_path: Path) -> None:
    """Treating the refusal as an old server would buy without a durable intent, silently."""
    with Server.started(tmp_path / "redis") as server:
        permit(server, "on", f">{PASSWORD}", *rules(0), "-waitaof", "-command|docs")
        with staged(server, sandbox, tmp_path) as stage, stage.worker() as worker:
            job_id = stage.service.submit(a_request()).job_id
            eventually(lambda: "waitaof" in worker.said(), what="the worker's complaint")
            assert sandbox.purchases() == {}
            permit(server, "+waitaof")
            assert stage.ended(job_id).state is State.COMPLETED
    assert list(sandbox.purchases().values()) == [1]


def test_every_command_of_the_scripts_is_among_them() -> None:
    """A server with the documented ACL would refuse a script that uses another command."""
    scripts = "".join(file.read_text() for file in (ROOT / "jobs/lua").glob("*.lua"))
    used = {command.lower() for command in re.findall(r"redis\.p?call\(\s*['\"](\w+)['\"]", scripts)}

    assert used
    assert used <= COMMANDS.keys()
    assert not re.search(r"redis\.p?call\(\s*[^'\"\s]", scripts)  # no command name is computed


def test_the_page_states_exactly_these() -> None:
    """Operators copy the block from the page."""
    text = (ROOT / "docs/how-to/deploy.md").read_text()
    (block,) = re.findall(r"ACL SETUSER rushes on '>password' -@all(.*?)```", text, re.DOTALL)

    assert block.replace("\\\n", " ").split() == rules(0)
    for command in NEWER:
        assert f"`+{command}`" in text
