"""`rushes up` works whatever variables are set for other programs."""

import json
import re
import subprocess
from typing import Final

import pytest
import requests

from ops.stack.environment import for_stack
from ops.stack.recipe import is_free
from producer.cli.exits import Exit
from tests.ops.machines import ABSENT, RUSHES, Machine, addresses

NOBODY: Final = "http://127.0.0.1:9"
"""Nothing listens there."""

ENVIRONMENTS: Final = {
    "proxies": {
        name: NOBODY
        for kind in ("http_proxy", "https_proxy", "all_proxy", "ftp_proxy")
        for name in (kind, kind.upper())
    }
    | {"NO_PROXY": "example.org"},
    "variables of Celery, Flower and uvicorn": {
        "FLOWER_URL_PREFIX": "/flower",
        "FLOWER_PORT": "1",
        "FLOWER_CONF": "missing.py",
        "FLOWER_UNIX_SOCKET": "flower.sock",
        "FLOWER_NOT_AN_OPTION": "x",
        "CELERY_BROKER_URL": "redis://127.0.0.1:9/0",
        "CELERY_WORKER_QUEUES": "other",
        "CELERY_LOADER": "no.such.Loader",
        "CELERY_CONFIG_MODULE": "no_such_module",
        "BROKER_URL": "redis://127.0.0.1:9/0",
        "APP": "shop",
        "LOADER": "no.such.Loader",
        "UVICORN_PORT": "1",
        "WEB_CONCURRENCY": "4",
        "FORWARDED_ALLOW_IPS": "*",
    },
    "variables of Python": {
        "PYTHONWARNINGS": "error",
        "PYTHONSAFEPATH": "1",
        "PYTHONSTARTUP": "missing.py",
        "PYTHONOPTIMIZE": "2",
        "PYTHONIOENCODING": "ascii",
    },
    "no home, no folder for temporary files, no locale": {
        "HOME": ABSENT,
        "TMPDIR": "/no/such/folder",
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
    },
    "a locale that is not installed": {"LC_ALL": "xx_YY.UTF-8", "LANG": "xx_YY"},
}

pytestmark = pytest.mark.timeout(180)


def enter_busy_folder(machine: Machine, name: str) -> None:
    """Enter another project's folder, with its own `.env` and Flower configuration."""
    machine.folder = machine.folder / name
    machine.folder.mkdir()
    (machine.folder / ".env").write_text(f"http_proxy={NOBODY}\nAPP=shop\nDATABASE_URL=x\nPYTHONPATH=/nowhere\n")
    (machine.folder / "flowerconfig.py").write_text("raise SystemExit('the configuration of another Flower')\n")


@pytest.mark.long
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_stack_starts_and_serves_whatever_was_set_for_other_programs(machine: Machine, name: str) -> None:
    """Readiness checks, children, a second terminal and doctor all run with these variables."""
    machine.variables = ENVIRONMENTS[name]
    knows_ascii_only = "PYTHONUTF8" in machine.variables
    enter_busy_folder(machine, "a shop" if knows_ascii_only else "Bär für 東京")
    with machine.up() as stack:
        ran = machine.rushes("submit", "--wait", "--json", "a böat")
        assert ran.returncode == Exit.DONE, ran.stdout + ran.stderr + stack.said()
        view = json.loads(ran.stdout)
        assert (view["status"], view["prompt"]) == ("completed", "a böat")
        assert view["media"]["width"] > 0, "the isolated process could not look into the video"
        doctor = machine.rushes("doctor")
        assert doctor.returncode == Exit.DONE, doctor.stdout + doctor.stderr
        with requests.Session() as session:
            session.trust_env = False
            assert session.get(f"http://127.0.0.1:{addresses(stack)['RUSHES_FLOWER__PORT']}/workers", timeout=10).ok
        assert "Traceback" not in stack.said()


@pytest.mark.parametrize(
    ("given", "direct"),
    [
        ({}, {"127.0.0.1", "localhost", "::1"}),
        ({"NO_PROXY": "a.example:80,10.0.0.0/8"}, {"a.example:80", "10.0.0.0/8", "127.0.0.1", "localhost", "::1"}),
        ({"no_proxy": "b.example", "NO_PROXY": "a.example"}, {"b.example", "127.0.0.1", "localhost", "::1"}),
        ({"NO_PROXY": "*"}, {"*"}),
    ],
)
def test_a_proxy_reaches_the_children_but_not_for_this_machine(given: dict[str, str], direct: set[str]) -> None:
    """A real upstream may need the proxy; curl, requests and httpx read either case."""
    proxies = {"https_proxy": "http://proxy.example:3128", "ALL_PROXY": "socks5://proxy.example:1080"}
    found = for_stack({**proxies, **given})
    assert found | proxies == found
    assert found["NO_PROXY"] == found["no_proxy"]
    assert set(found["no_proxy"].split(",")) == direct


def test_what_the_user_set_for_the_children_reaches_them() -> None:
    """Settings, credentials, search paths and Flower's password are for the children."""
    theirs = {
        "RUSHES_HOOKS__CALL": "shop:ended",
        "AWS_SECRET_ACCESS_KEY": "x",
        "DJANGO_SETTINGS_MODULE": "shop.settings",
        "PYTHONPATH": "/srv/shop",
        "FLOWER_BASIC_AUTH": "ann:secret",
        "REQUESTS_CA_BUNDLE": "/etc/ca.pem",
        "APPLICATION": "x",
    }
    assert for_stack(theirs) | theirs == for_stack(theirs)


@pytest.mark.long
def test_a_stack_goes_on_when_nobody_reads_its_output_any_more(machine: Machine) -> None:
    """`rushes up | head -3` must not block the children on their output."""
    process = subprocess.Popen(
        [*RUSHES, "up", "--time-scale", "100"],
        env=machine.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd=machine.folder,
    )  # fmt: skip
    assert process.stdout is not None
    with process.stdout as lines:
        assert any(b"stop with Ctrl-C" in line for line in lines)
    ran = machine.rushes("submit", "--wait", "a boat")
    assert ran.returncode == Exit.DONE, ran.stderr
    process.terminate()
    assert process.wait(90) == Exit.DONE


# -- from another folder --------------------------------------------------------------------------------------------


@pytest.mark.skipif(not is_free(6379), reason="a Redis listens at the usual port")
@pytest.mark.parametrize("command", [["list"], ["get", "job_x"], ["doctor"], ["submit", "a boat"], ["batch", "b.csv"]])
def test_a_command_from_another_folder_names_the_state_folder_it_read(machine: Machine, command: list[str]) -> None:
    """A stack may run with another state folder, so the error must not suggest that none runs."""
    (machine.folder / "b.csv").write_text("prompt\na boat\n")
    ran = machine.rushes(*command)
    said = re.sub(r"\s+", " ", ran.stdout + ran.stderr)
    assert ran.returncode in {Exit.NO_LEDGER, Exit.FAILED}, said
    assert f"no `rushes up` is running with the state folder {machine.folder / '.rushes'}" in said
    assert "RUSHES_STATE_DIR" in said
    assert "Is it running" not in said
