"""`rushes up`: the whole stack on one machine."""

import fcntl
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer

from config.open_files import allow
from config.private import prepare_state
from config.settings import ConfigurationError, Settings, load
from ops.parts import warn_of_shadows
from ops.stack.ports import SavedPorts
from ops.stack.recipe import Plan, make_plan, make_specs, write_private
from ops.stack.supervisor import StartFailed, Supervisor
from producer.cli.exits import Exit, discard_output, explained, leave

UP_FILE: Final = "up.env"
READY: Final = "ready: in another terminal,"
"""What a stack says once all its parts are ready."""

FILES: Final = 16_384
"""Open files per child, if the system permits; the sandbox needs a connection for each concurrent poll."""
_COLOURS: Final = {"valkey": 35, "sandbox": 36, "worker": 32, "flower": 33, "api": 34}


def up(
    *,
    embedded: Annotated[
        bool, typer.Option("--embedded", help="Use an embedded Valkey even if another is set.")
    ] = False,
    sandbox: Annotated[bool, typer.Option("--sandbox", help="Use the sandbox upstream even if a key is set.")] = False,
    time_scale: Annotated[float, typer.Option(min=0.01, help="The sandbox renders this many times faster.")] = 10.0,
) -> None:
    """Run everything on this machine until Ctrl-C: Valkey, sandbox, worker, API, Flower."""
    with explained():
        settings = load(beside_up=False)
        plan_embedded = embedded or "url" not in settings.redis.model_fields_set
        plan_sandbox = sandbox or settings.upstream.api_key is None
        prepare_state(settings)
        with _alone(settings.state_dir):
            ports = SavedPorts(settings.state_dir, on_note=_note)
            plan = make_plan(settings, embedded=plan_embedded, sandbox=plan_sandbox, time_scale=time_scale, ports=ports)
            ports.save()
            _run(plan)


def up_file(settings: Settings) -> Path:
    """Return the file with a running stack's addresses, for other terminals."""
    return settings.state_dir / UP_FILE


def _run(plan: Plan) -> None:
    file = up_file(plan.settings)
    supervisor = Supervisor(on_line=_print_line, on_note=_note)

    allow(FILES)
    try:
        # Before anything answers: who sees that the API is ready finds the stack from another terminal.
        write_private(file, "".join(f"{name}={_env_word(value)}\n" for name, value in plan.environment().items()))
        supervisor.run(make_specs(plan), on_ready=lambda: _greet(plan))
    except StartFailed as error:
        leave(Exit.FAILED, f"The stack could not start: {error}. Its output is above.")
    finally:
        file.unlink(missing_ok=True)
    _print_line("rushes", "stopped; nothing is lost, `rushes up` goes on where this ended")


def _env_word(value: str) -> str:
    """Quote a value for python-dotenv and shells (but for a dollar or a backtick, which only a shell expands)."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Lock the state folder for one stack; the lock ends with the process."""
    with (folder / "up.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise ConfigurationError(
                f"A stack runs in {folder} already (process {lock.read().strip() or 'unknown'}). "
                "Stop it with Ctrl-C there, or choose another RUSHES_STATE_DIR."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _greet(plan: Plan) -> None:
    settings = plan.settings
    server = "embedded Valkey" if plan.valkey_port else "your server (RUSHES_REDIS__URL)"
    where = f"127.0.0.1:{plan.valkey_port}, data in {settings.state_dir / 'valkey'}" if plan.valkey_port else ""
    if plan.sandbox_url:
        upstream = f"the sandbox at {plan.sandbox_url}: nothing is bought, {plan.time_scale:g}x faster than life"
    else:
        upstream = f"{settings.upstream.base_url} with your key: every video costs money"
    for line in (
        f"page      {plan.api_url}",
        f"redis     {server} {where}".rstrip(),
        f"upstream  {upstream}",
        f"api       {plan.api_url}/docs",
        f"flower    {plan.flower_url}",
        f"archive   {settings.archive_root}",
        *_overruled(plan),
        *warn_of_shadows(),
        f'{READY}  rushes submit --wait "a paper boat in the rain"',
        "stop with Ctrl-C",
    ):
        _print_line("rushes", line)


def _overruled(plan: Plan) -> list[str]:
    """Return what to type in another terminal if the user's settings override this stack's."""
    settings = plan.settings
    theirs = [
        name
        for name, is_ours, group in (
            ("RUSHES_REDIS__URL", plan.valkey_port, settings.redis),
            ("RUSHES_UPSTREAM__API_KEY", plan.sandbox_url, settings.upstream),
        )
        if is_ours and name.rpartition("__")[2].lower() in group.model_fields_set
    ]
    if not theirs:
        return []
    file = shlex.quote(str(up_file(settings).absolute()))
    return [
        f"{' and '.join(theirs)} of yours override this stack's; in another terminal, first:  set -a; . {file}; set +a"
    ]


def _note(sentence: str) -> None:
    _print_line("rushes", sentence)


def _print_line(name: str, line: str) -> None:
    """Print a line; discard it if the pipe is closed, or the children would block on their output."""
    start, end = (f"\x1b[{_COLOURS.get(name, 1)}m", "\x1b[0m") if sys.stdout.isatty() else ("", "")
    try:
        sys.stdout.write(f"{start}{name:<8}{end}| {line}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        discard_output()
