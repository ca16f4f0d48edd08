"""`rushes up` and `rushes demo`: however they end, no process is left and no job is lost."""

import json
import re
import shlex
import signal
import stat
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Final, cast

import av
import pytest
import requests

from config.connection import connect
from config.settings import RedisSettings
from jobs.errors import LedgerUnavailable
from jobs.states import State
from producer.cli.exits import Exit
from tests.api.conftest import answers
from tests.ops.machines import RUSHES, Machine, Stack, addresses
from tests.producer.terminal import Running
from tests.stage import Sandbox, Stage, a_request, eventually

NAMES: Final = ("valkey", "sandbox", "worker", "api", "flower")
SLOW_S: Final = 600
"""Seconds of upstream time: long enough to be interrupted."""

pytestmark = [pytest.mark.long, pytest.mark.timeout(180)]  # several stacks start and stop in a test


def purchases(stack: Stack) -> dict[str, int]:
    """Count what the stack's sandbox sold, by client request id."""
    return Sandbox(addresses(stack)["RUSHES_UPSTREAM__BASE_URL"]).purchases()


def durable(stack: Stack) -> None:
    """Wait until Redis has written everything to disk."""
    settings = RedisSettings.model_validate({"url": addresses(stack)["RUSHES_REDIS__URL"]})
    with connect(settings, name="test") as client:
        assert client.waitaof(1, 0, 4000)[0] == 1


# -- up -------------------------------------------------------------------------------------------------------------


def test_the_greeting_says_how_a_second_terminal_finds_an_overridden_stack(machine: Machine) -> None:
    """An address in `.env` overrides the stack's, so the greeting has a command, and it works."""
    (machine.folder / ".env").write_text("RUSHES_REDIS__URL=redis://127.0.0.1:1/0\n")
    with machine.up("--embedded") as stack:
        found = re.search(r"override this stack's; in another terminal, first:  (.*)", stack.said())
        assert found is not None
        listed = subprocess.run(
            ["sh", "-c", f'{found[1]}; exec "$@"', "sh", *RUSHES, "doctor"],
            env=machine.environment(), capture_output=True, text=True, check=False, timeout=60, cwd=machine.folder,
        )  # fmt: skip
        assert listed.returncode == Exit.DONE, listed.stdout + listed.stderr
        assert "RUSHES_UPSTREAM__API_KEY" not in found[0]


def test_a_stack_greets_serves_a_second_terminal_refuses_a_twin_and_ends_cleanly(machine: Machine) -> None:
    """This is a newcomer's first session."""
    with machine.up() as stack:
        greeting = stack.said()
        for words in (
            "embedded Valkey 127.0.0.1:",
            "nothing is bought, 100x faster",
            "page      http://",
            "api       http://",
            "flower    http://",
            "archive   /",
        ):
            assert words in greeting
        assert "WARNING" not in greeting
        file = machine.folder / ".rushes" / "up.env"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600

        submitted = machine.rushes("submit", "--wait", "-o", "clip.mp4", "--json", "a paper boat")
        assert submitted.returncode == Exit.DONE, submitted.stderr
        assert json.loads(submitted.stdout)["status"] == "completed"
        with av.open(str(machine.folder / "clip.mp4")) as clip:
            assert next(clip.decode(video=0)).width > 0
        assert machine.rushes("doctor").returncode == Exit.DONE
        state = machine.folder / ".rushes"
        kept = [state, *(state / name for name in ("valkey", "archive", "spool", "sandbox", "videos.sqlite"))]
        assert [str(path) for path in kept if path.stat().st_mode & 0o077] == []
        api = f"http://127.0.0.1:{addresses(stack)['RUSHES_API__PORT']}"
        assert requests.get(f"{api}/readyz", timeout=10).json()["ready"]
        assert [job["status"] for job in requests.get(f"{api}/v1/videos", timeout=10).json()["data"]] == ["completed"]

        twin = machine.rushes("up")
        assert twin.returncode == Exit.SETTINGS
        assert f"(process {stack.process.pid})" in twin.stderr
        assert "another RUSHES_STATE_DIR" in twin.stderr
        assert file.exists()

        password = re.search(r"redis://:([^@]+)@", file.read_text())
        assert password is not None
        assert stack.ends_by(signal.SIGTERM) == Exit.DONE
        said = stack.said()
        assert password[1] not in said
        assert "Traceback" not in said
        assert not {word for word in ("superuser", "[config]") if word in said}, "Celery's own banner and warning"
        assert re.findall(r"stopping (\w+)", said) == list(reversed(NAMES))

    eventually(machine.is_quiet, what="the end of every process")
    assert not file.exists()


def test_what_is_killed_is_started_again_and_the_job_in_flight_completes(machine: Machine) -> None:
    """Worker, sandbox and Valkey are killed while one job renders; it is bought once."""
    with machine.up() as stack:
        prompt = f"a boat [sandbox: latency={SLOW_S}]"
        job_id = stack.service.submit(a_request(prompt)).job_id
        eventually(lambda: stack.service.get(job_id).job.state is State.RENDERING, what="the purchase")
        durable(stack)
        for name in ("worker", "sandbox", "valkey"):
            kill_and_see_it_return(stack, name)

        eventually(lambda: state_of(stack, job_id) is State.COMPLETED, within_s=60, what="the job's end")
        assert purchases(stack) == {job_id: 1}
        assert stack.ends_by(signal.SIGINT) == Exit.DONE
    eventually(machine.is_quiet, what="the end of every process")


def kill_and_see_it_return(stack: Stack, name: str) -> None:
    """Kill one child with SIGKILL; the supervisor reports it and starts another."""
    victim = stack.child(name)
    assert victim is not None, name
    victim.kill()
    eventually(lambda: f"{name} ended with code -9" in stack.said(), what=f"a note of the end of {name}")
    eventually(lambda: (found := stack.child(name)) is not None and found != victim, what=f"the restart of {name}")


def state_of(stack: Stack, job_id: str) -> State | None:
    """Return the job's state, or None while Redis is down."""
    try:
        return stack.service.get(job_id).job.state
    except LedgerUnavailable:
        return None


def test_who_sees_that_the_api_is_ready_finds_the_stack(machine: Machine) -> None:
    """A script that waits for it, and then submits in another terminal."""
    url = f"http://127.0.0.1:{machine.ports['RUSHES_API__PORT']}"
    with machine.run("up") as process:
        eventually(lambda: process.poll() is not None or answers(url), within_s=60, what="the API")
        assert (machine.folder / ".rushes" / "up.env").exists()


def test_a_stack_that_is_killed_leaves_no_process_and_the_next_goes_on_with_its_jobs(machine: Machine) -> None:
    """When the supervisor is killed, the kernel ends the children; its address file does no harm."""
    with machine.up() as stack:
        job_id = stack.service.submit(a_request(f"a boat [sandbox: latency={SLOW_S}]")).job_id
        eventually(lambda: stack.service.get(job_id).job.state is State.RENDERING, what="the purchase")
        durable(stack)
        stack.process.kill()
        stack.process.wait()
    eventually(machine.is_quiet, within_s=60, what="the end of every process")
    assert (machine.folder / ".rushes" / "up.env").exists()

    with machine.up() as stack:
        eventually(lambda: state_of(stack, job_id) is State.COMPLETED, within_s=60, what="the job's end")
        assert purchases(stack) == {job_id: 1}
    eventually(machine.is_quiet, what="the end of every process")


def test_a_stack_that_cannot_start_names_the_failed_part_and_stops_the_others(machine: Machine) -> None:
    """A hook that cannot be imported stops the worker; Valkey and sandbox are stopped too."""
    environment = {**machine.environment(), "RUSHES_HOOKS__CALL": "no.such:hook"}
    ran = subprocess.run(
        [*RUSHES, "up"], env=environment, capture_output=True, text=True, check=False, timeout=90, cwd=machine.folder
    )

    assert ran.returncode == Exit.FAILED
    assert "worker ended with code 1 as it started" in ran.stderr
    assert "no.such:hook, which cannot be imported" in ran.stdout
    assert machine.is_quiet()


# -- demo -----------------------------------------------------------------------------------------------------------


def test_a_demo_on_a_terminal_offers_to_stay_up(machine: Machine) -> None:
    """What a person sees first should not vanish; Ctrl-C then ends it as `rushes up`."""
    place = SimpleNamespace(folder=machine.folder, environment=machine.environment())
    with Running.started(cast("Stage", place), "demo", "a boat", "--time-scale", "100", in_terminal=True) as demo:
        eventually(lambda: "Keep it running" in demo.said or demo.process.poll() is not None, within_s=90)
        demo.types("y\n")
        demo.says("rushes submit --wait")
        state = str(machine.folder / ".rushes" / "demo")
        assert f"export RUSHES_STATE_DIR={shlex.quote(state)}" in demo.said
        machine.variables["RUSHES_STATE_DIR"] = state
        assert "completed" in machine.rushes("list").stdout
        demo.interrupt()
        assert demo.ends(within_s=90) == Exit.DONE
    eventually(machine.is_quiet, within_s=10, what="the end of the stack")


@pytest.mark.parametrize("moment", ["start", "rendering", "stop"])
def test_a_demo_that_is_interrupted_leaves_no_process_and_the_next_goes_on_with_its_job(
    machine: Machine, moment: str
) -> None:
    """Ctrl-C comes while the stack starts, while the video renders, or while the stack stops."""
    log = machine.folder / "up.log"
    stack_log = machine.folder / ".rushes" / "demo" / "up.log"
    prompt = f"a boat [sandbox: latency={20 if moment == 'stop' else SLOW_S}]"

    def said(words: str, file: Path) -> bool:
        return file.exists() and words in file.read_text(errors="replace")

    with machine.run("demo", prompt, "--time-scale", "100") as demo:
        sign = {
            "start": ("Sandbox upstream at", stack_log),
            "rendering": (" rendering", log),
            "stop": ("stopping flower", stack_log),
        }[moment]
        eventually(lambda: said(*sign) or demo.poll() is not None, within_s=60, what=moment)
        demo.send_signal(signal.SIGINT)
        code = demo.wait(90)
    eventually(machine.is_quiet, within_s=10, what="the end of the stack")
    assert not said("Traceback", log)
    assert code in ({Exit.DONE, Exit.INTERRUPTED} if moment == "stop" else {Exit.INTERRUPTED})
    interrupted = re.search(r"submitted (job_\w+)", log.read_text())
    assert (interrupted is None) == (moment == "start")

    log.unlink()
    if moment != "rendering":
        return  # there was no unfinished job
    # A stale address file, as after a power cut: the next demo must wait for its own stack's.
    (stack_log.parent / "up.env").write_text("RUSHES_REDIS__URL='redis://127.0.0.1:1/0'\n")
    with machine.run("demo", "a boat", "--time-scale", "100") as demo:
        assert demo.wait(90) == Exit.DONE, log.read_text()
    assert machine.is_quiet()
    assert said("Your video: ", log)
    if interrupted is not None:
        went_on = said(f"{interrupted[1]} of the interrupted run was not lost", log)
        assert went_on or list((stack_log.parent / "archive").rglob(f"{interrupted[1]}.mp4"))  # it had ended
    video = re.search(r"Your video: (.*\.mp4)", log.read_text())
    assert video is not None
    with av.open(video[1]) as clip:
        assert next(clip.decode(video=0)).width > 0
