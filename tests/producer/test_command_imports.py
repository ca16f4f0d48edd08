"""What a command imports: a script that calls `rushes` in a loop pays for it every time."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
from typer import Context
from typer.core import TyperGroup
from typer.main import get_command

from ops.commands import app
from producer.cli.exits import Exit
from tests.stage import ROOT, Stage, a_request

HEAVY: Final = {
    "celery.app.base",
    "requests",
    "httpx2",
    "pycurl",
    "uvloop",
    "jinja2",
    "prometheus_client",
    "jsonschema_rs",
    "kombu.transport.redis",
    "sqlalchemy",
    "av",
    "PIL",
    "starlette",
    "fastapi",
    "uvicorn",
}
OTHERS: Final = {
    "worker.upstream",
    "worker.sql",
    "ops.sandbox",
    "ops.doctor",
    "producer.api",
    "producer.client",
    "jobs.facts",
}
FOR_PEOPLE: Final = {"rich", "jobs.outbox"}
"""For tables and colours, and for the state of receivers; no script reads either."""

FOR_WAKE_UPS: Final = {"celery.app.base", "kombu.transport.redis"}

LISTED: Final = """
import json, sys
from ops.cli import main
try:
    main()
finally:
    sys.stderr.write("\\n" + json.dumps(sorted(sys.modules)))
"""

BUILT: Final = """
import json
import producer.cli.submit, producer.cli.job_commands, config.transport
from pydantic import BaseModel

def below(model):
    for derived in model.__subclasses__():
        yield derived
        yield from below(derived)

built = {model for model in below(BaseModel) if model.__pydantic_complete__}
print(json.dumps(sorted(f"{model.__module__}.{model.__name__}" for model in built)))
"""


def imported(stage: Stage, *arguments: str, code: Exit = Exit.DONE) -> set[str]:
    """The modules of a command that did its work, with their packages."""
    ran = subprocess.run(
        [sys.executable, "-c", LISTED, *arguments],
        env={**os.environ, **stage.environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=stage.folder,
    )
    assert ran.returncode == code, ran.stderr
    return set(json.loads(ran.stderr.splitlines()[-1]))


@pytest.mark.parametrize("command", ["get", "list", "events", "cancel", "status"])
def test_a_command_about_jobs_imports_neither_celery_nor_what_other_commands_need(stage: Stage, command: str) -> None:
    """They were most of a command's CPU, and none of its work."""
    job_id = stage.service.submit(a_request()).job_id
    arguments = [] if command in {"list", "status"} else [job_id]
    assert not imported(stage, command, *arguments) & (HEAVY | OTHERS)


@pytest.mark.parametrize("command", ["get", "list", "events"])
def test_json_does_without_rich(stage: Stage, command: str) -> None:
    """It was a tenth of such a command's CPU."""
    job_id = stage.service.submit(a_request()).job_id
    arguments = [] if command == "list" else [job_id]
    assert not imported(stage, command, *arguments, "--json") & (HEAVY | OTHERS | FOR_PEOPLE)


def test_a_wait_imports_no_more(stage: Stage) -> None:
    """Scripts submit, and then wait."""
    job_id = stage.service.submit(a_request()).job_id
    assert not imported(stage, "wait", job_id, "--timeout", "0.1", code=Exit.TIMED_OUT) & (HEAVY | OTHERS)


def test_submit_imports_celery_for_its_wake_up_and_nothing_else(stage: Stage) -> None:
    """Celery writes its own messages; a second implementation of their format would be ours to keep true."""
    assert imported(stage, "submit", "a paper boat") & (HEAVY | OTHERS | FOR_PEOPLE) == FOR_WAKE_UPS


def test_a_second_submit_with_the_key_needs_no_celery(stage: Stage) -> None:
    """Nothing became due, so nobody is woken."""
    arguments = ("submit", "a paper boat", "--idempotency-key", "k")
    imported(stage, *arguments)
    assert not imported(stage, *arguments) & (HEAVY | OTHERS)


def test_imports_build_the_models_that_every_command_needs() -> None:
    """Those of requests, views and messages are built at first use: together they cost as much as all settings."""
    ran = subprocess.run([sys.executable, "-c", BUILT], cwd=ROOT, capture_output=True, text=True, check=True)
    ours = [name for name in json.loads(ran.stdout) if name.startswith(("config.", "jobs.", "producer."))]
    assert [name for name in ours if not name.startswith("config.settings.")] == ["jobs.job.Job"]


def test_the_api_imports_celery_when_it_starts() -> None:
    """Else its first request would wait for that, and the event loop with it."""
    listed = "import sys, producer.api.__main__; print('celery.app.base' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", listed], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout == "True\n"


def test_every_command_is_where_its_name_leads() -> None:
    """A place that is misspelt would be noticed by the command's user only."""
    commands = get_command(app).commands  # type: ignore[attr-defined]  # a group, as typer types it not
    assert all(command.name == name and command.help for name, command in commands.items())


def test_every_example_of_a_help_page_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is parsed as the command parses it, and not run."""
    monkeypatch.chdir(tmp_path)
    for file in ("prompts.csv", "prompts.jsonl"):
        (tmp_path / file).touch()
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    for name in group.list_commands(Context(group)):
        page = group.commands[name].get_help(Context(group.commands[name], info_name=name))
        examples = [line.split(" rushes ")[1] for line in page.splitlines() if line.startswith("    rushes ")]
        assert examples, name
        for example in examples:
            command: Any = group
            context, words = Context(group), shlex.split(example)
            while isinstance(command, TyperGroup):
                command = command.commands[words.pop(0)]
                context = Context(command, info_name=name, parent=context)
            command.make_context(name, words, parent=context)


def test_a_shell_completes_the_ids_of_jobs(stage: Stage) -> None:
    """The newest first; without a Redis nothing is printed into the line that somebody types."""
    ids = [stage.service.submit(a_request()).job_id for _ in range(3)]

    def completed(start: str) -> list[str]:
        ran = subprocess.run(
            [Path(sys.executable).with_name("rushes")],
            env={
                **os.environ,
                **stage.environment,
                "_RUSHES_COMPLETE": "complete_bash",
                "COMP_WORDS": f"rushes get {start}",
                "COMP_CWORD": "2",
            },
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert ran.stderr == ""
        return ran.stdout.split()

    assert completed("job_") == sorted(ids, reverse=True)
    assert completed(ids[1]) == [ids[1]]
    stage.environment["RUSHES_REDIS__URL"] = "redis://127.0.0.1:1/0"
    assert completed("job_") == []


def test_a_misspelt_command_is_told_the_nearest(stage: Stage) -> None:
    """Also while no command is imported."""
    ran = stage.rushes("lisst")
    assert ran.returncode == 2
    assert "Did you mean 'list'?" in ran.stderr
