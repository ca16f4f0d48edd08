"""The least ACL that docs/deployment.md states: with exactly it everything works; doctor names what is taken away."""

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
    """A server that has a user with exactly the least permissions; its administrator is another."""
    binary = (ELSEWHERE or "") if request.param == DEBIANS else ""
    with Server.started(tmp_path / "redis", binary=binary) as started:
        permit(started, "on", f">{PASSWORD}", *rules(0, newer=knows_newer(started)))
        yield started


def permit(server: Server, *words: str) -> None:
    """Change what the user may do, for open connections too; what was refused before is forgotten."""
    with server.client as administrator:
        administrator.execute_command("ACL", "SETUSER", USER, *words)
        administrator.acl_log_reset()


def knows_newer(server: Server) -> bool:
    """Whether it is a Redis 7.2 or newer."""
    with server.client as administrator:
        return bool(administrator.execute_command("COMMAND DOCS", "WAITAOF"))


def url_of(server: Server) -> str:
    """Its address for the user."""
    return f"redis://{USER}:{PASSWORD}@{HOST}:{server.port}/0"


@contextmanager
def staged(server: Server, sandbox: Sandbox, folder: Path) -> Iterator[Stage]:
    """A deployment whose every part is the user; the test itself is not."""
    sandbox.reset()
    with Stage(server.client, url_of(server), sandbox, folder).open() as stage:
        stage.environment |= {"RUSHES_WEBHOOKS__KEYS": "k" * 32, "FLOWER_BASIC_AUTH": ":".join(FLOWER)}
        yield stage


@contextmanager
def flower(stage: Stage) -> Iterator[str]:
    """Flower's address, once it answers."""
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
    """What Flower shows; nothing while it does not answer."""
    try:
        answer = requests.get(url, auth=FLOWER, timeout=10)
    except requests.RequestException:
        return ""
    return answer.text if answer.ok else ""


def test_with_exactly_the_least_everything_works(server: Server, sandbox: Sandbox, tmp_path: Path) -> None:
    """Worker, API, command line, Flower; a job to its end; the server has refused nothing in all that time."""
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
        assert api.delete(f"/v1/videos/{job_id}").ok
        eventually(lambda: "least@test" in page(f"{shown}/workers"), what="the worker on Flower's page")
        eventually(lambda: "least@test" in requests.get(f"{shown}/api/workers?refresh=1", auth=FLOWER, timeout=20).text)
        assert "submit" in page(f"{shown}/broker")
        doctor = stage.rushes("doctor")

        assert doctor.returncode == Exit.DONE, doctor.stdout
        assert "WRONG" not in doctor.stdout
        assert "look " not in doctor.stdout
        assert refused(server) == []
        for log in (worker.said(), api.log.read_text(), (tmp_path / "flower.log").read_text()):
            assert "NOPERM" not in log
            assert "forbids" not in log


def refused(server: Server) -> list[dict[str, Any]]:
    """What the server has refused to anybody; an older one does not know what redis-py calls itself by."""
    with server.client as administrator:
        entries: list[dict[str, Any]] = administrator.acl_log()
    return entries


@pytest.mark.parametrize("rule", rules(0))
def test_what_is_taken_away_is_named(least: Server, rule: str) -> None:
    """Each by itself, so that a person can grant it."""
    taken = {"~": ("resetkeys",), "&": ("resetchannels", *(f"&{name}" for name in channels(0) if f"&{name}" != rule))}
    permit(least, *taken.get(rule[0], (f"-{rule[1:]}",)))
    try:
        if rule == "+client|setname":  # no connection is made without it
            with pytest.raises(redis.exceptions.NoPermissionError, match=re.escape(rule[1:])):
                lacking(least)
        else:
            assert lacking(least) == [rule]
    finally:
        permit(least, *((rule,) if rule[0] != "&" else map("&{}".format, channels(0))))


def lacking(server: Server, db: int = 0) -> list[str]:
    """What doctor finds missing."""
    with connect(RedisSettings.model_validate({"url": url_of(server)}), name="doctor") as client:
        return missing(client, db)


@pytest.fixture(scope="module")
def least(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the many."""
    with Server.started(tmp_path_factory.mktemp("least")) as started:
        permit(started, "on", f">{PASSWORD}", *rules(0))
        yield started


def test_looking_for_what_is_missing_changes_nothing(least: Server) -> None:
    """Every command is queued, and none is executed."""
    assert lacking(least) == []
    with least.client as administrator:
        assert administrator.keys("*") == []


def test_a_pattern_is_not_its_channels(least: Server) -> None:
    """`&rushes:*` seems enough, and subscribes to nothing; nor is another database's enough."""
    permit(least, "resetchannels", "&rushes:*")
    try:
        assert lacking(least) == [f"&{name}" for name in channels(0)]
        permit(least, "resetchannels", "&*")
        assert lacking(least) == []
        permit(least, "resetchannels", *map("&{}".format, channels(0)))
        assert lacking(least, db=3) == [f"&{name}" for name in channels(3)]
    finally:
        permit(least, "resetchannels", *map("&{}".format, channels(0)))


@pytest.mark.parametrize("taken", ["-lpush", "-psubscribe", "-waitaof", "-info", "-evalsha", "-zadd", "resetkeys"])
def test_doctor_says_what_to_grant_and_goes_on(taken: str, sandbox: Sandbox, tmp_path: Path) -> None:
    """As a command, with its exit code; what has nothing to do with it is still checked."""
    with Server.started(tmp_path / "redis") as server:
        permit(server, "on", f">{PASSWORD}", *rules(0), taken)
        with staged(server, sandbox, tmp_path) as stage:
            doctor = stage.rushes("doctor")

    assert doctor.returncode == Exit.FAILED
    assert f"ACL SETUSER <user> {KEYS if taken == 'resetkeys' else taken.replace('-', '+')} (" in doctor.stdout
    assert "takes the key" in doctor.stdout
    assert PASSWORD not in doctor.stdout
    assert "Traceback" not in doctor.stderr


def test_an_order_names_the_command_that_is_forbidden(sandbox: Sandbox, tmp_path: Path) -> None:
    """Also one that only a script uses."""
    with Server.started(tmp_path / "redis") as server:
        permit(server, "on", f">{PASSWORD}", *rules(0), "-zadd")
        with (
            staged(server, sandbox, tmp_path) as stage,
            pytest.raises(LedgerUnavailable, match="rushes doctor") as told,
        ):
            stage.service.submit(a_request())

    assert "zadd" in str(told.value)


def test_nothing_is_bought_where_waitaof_is_forbidden(sandbox: Sandbox, tmp_path: Path) -> None:
    """The server knows it: to take the refusal for an old server would buy without a durable intent, silently."""
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
    """The server of a user who followed the page would refuse a script that uses another command."""
    scripts = "".join(file.read_text() for file in (ROOT / "jobs/lua").glob("*.lua"))
    used = {command.lower() for command in re.findall(r"redis\.p?call\(\s*['\"](\w+)['\"]", scripts)}

    assert used
    assert used <= COMMANDS.keys()
    assert not re.search(r"redis\.p?call\(\s*[^'\"\s]", scripts)  # none is put together at run time


def test_the_page_states_exactly_these() -> None:
    """What an operator copies."""
    text = (ROOT / "docs/deployment.md").read_text()
    (block,) = re.findall(r"ACL SETUSER rushes on '>password' -@all(.*?)```", text, re.DOTALL)

    assert block.replace("\\\n", " ").split() == rules(0)
    for command in NEWER:
        assert f"`+{command}`" in text
