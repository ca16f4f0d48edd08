"""`rushes demo`: turns a prompt into a stored video, with a stack that ends with it."""

import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import environ
from pathlib import Path
from typing import Annotated, Final

import typer
from dotenv import dotenv_values
from rich.console import Console

from config import launch
from config.private import make_folder
from config.settings import load
from jobs.job import VideoRequest
from jobs.states import Status
from ops.stack.children import die_with_parent
from ops.stack.up import READY, UP_FILE
from producer.cli.exits import Exit, explained, leave
from producer.cli.results import report
from producer.cli.session import Session
from producer.cli.visible import visible
from producer.service import Selection

DRAGON: Final = (
    "A menacing evil dragon appears in a distance above the tallest mountain, then rushes toward the camera "
    "with its jaws open, revealing massive fangs. We see it's coming."
)
"""The prompt of the upstream's own Veo 3 page."""

LABEL: Final = {"from": "rushes demo"}
START_WITHIN_S: Final = 60.0
STOP_WITHIN_S: Final = 90.0
_LAST_LINES: Final = 25


def demo(
    prompt: Annotated[str, typer.Argument(help="The prompt.")] = DRAGON,
    *,
    time_scale: Annotated[float, typer.Option(min=0.01, help="The sandbox renders this many times faster.")] = 20.0,
) -> None:
    """Turn one prompt into a stored video on this machine: no key, no Redis, no Docker, no money."""
    with explained():
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        folder = load(beside_up=False).state_dir / "demo"
        make_folder(folder)
        with _stack(folder, time_scale, console) as stack:
            session = Session()
            api = session.settings.api
            console.print(f"Page     http://{api.host}:{api.port} while this runs", style="bold")
            console.print(f"Flower   http://127.0.0.1:{session.settings.flower.port} while this runs", style="dim")
            job_id = _unfinished(session, console) or _submitted(session, prompt, console)
            job = report(session, job_id, timeout_s=None, as_json=False)
            assert job.stored is not None
            console.print(
                f"\nYour video: {session.settings.archive_root}/{job.stored.path}", style="bold green", markup=False
            )
            console.print("`rushes up` runs this stack to stay; README.md shows how to use your own key.", style="dim")
            if console.is_terminal and sys.stdin.isatty():
                _stay(stack, folder, console)


def _stay(stack: "subprocess.Popen[bytes]", folder: Path, console: Console) -> None:
    """Offer to keep the stack running until Ctrl-C."""
    if not typer.confirm("Keep it running, to look around?", err=True):
        return
    console.print(
        f"It runs until Ctrl-C. In another terminal:\n"
        f"  export RUSHES_STATE_DIR={shlex.quote(str(folder.absolute()))}\n"
        f'  rushes submit --wait "a paper boat in the rain"',
        markup=False,
    )
    with suppress(KeyboardInterrupt):
        stack.wait()


@contextmanager
def _stack(folder: Path, time_scale: float, console: Console) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a stack for the demo and point this process's environment to it."""
    log = folder / "up.log"
    with log.open("w") as out:
        process = subprocess.Popen(  # noqa: S603 (our own command)
            launch.command("ops.cli", "up", "--embedded", "--sandbox", "--time-scale", f"{time_scale:g}"),
            env={**environ, "RUSHES_STATE_DIR": str(folder.absolute())},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C must reach only this process, which stops the stack in order
            preexec_fn=die_with_parent(),  # noqa: PLW1509 (one prctl call, prepared before the fork)
        )
    try:
        with console.status("starting Valkey, sandbox, worker, API and Flower"):
            _until_ready(process, log)
        environ.update({name: value for name, value in dotenv_values(folder / UP_FILE).items() if value})
        yield process
    finally:
        with console.status("stopping the stack"):
            process.terminate()
            _wait_for_end(process)


def _until_ready(process: "subprocess.Popen[bytes]", log: Path) -> None:
    give_up_at = time.monotonic() + START_WITHIN_S
    while READY not in (said := log.read_text(errors="replace")):
        if process.poll() is not None or time.monotonic() > give_up_at:
            last = said.splitlines()[-_LAST_LINES:]
            leave(Exit.FAILED, "The stack did not start. Its last lines:", *last, f"All of them: {log}")
        time.sleep(0.1)


def _wait_for_end(process: "subprocess.Popen[bytes]") -> None:
    """Wait for the stack's end, even if Ctrl-C is pressed again, so that no process is left behind."""
    give_up_at = time.monotonic() + STOP_WITHIN_S
    while time.monotonic() < give_up_at:
        try:
            process.wait(max(0.1, give_up_at - time.monotonic()))
        except KeyboardInterrupt:
            process.terminate()  # a second SIGTERM: the supervisor kills at once
        except subprocess.TimeoutExpired:
            break
        else:
            return
    process.kill()


def _unfinished(session: Session, console: Console) -> str | None:
    """Return the unfinished job of an interrupted demo, which need not be bought again."""
    waiting = session.service.page(Selection((Status.QUEUED, Status.IN_PROGRESS), metadata=LABEL), limit=1).jobs
    if not waiting:
        return None
    job = waiting[0][0]
    console.print(f"{job.id} of the interrupted run was not lost: it goes on.")
    return job.id


def _submitted(session: Session, prompt: str, console: Console) -> str:
    answer = session.service.submit(VideoRequest("google/veo3", prompt, metadata=LABEL))
    console.print(f"submitted {answer.job_id}: {visible(prompt)}", markup=False)
    return answer.job_id
