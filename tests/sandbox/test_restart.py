"""What survives when the sandbox is killed."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.sandbox.conftest import Start
from tests.sandbox.harness import QUICK, command

GENERATIONS = "generations.jsonl"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Choose the state folder."""
    return tmp_path / "state"


def test_generations_survive_a_kill(start: Start, state: Path) -> None:
    """Polls, purchases, balance and issued URLs go on."""
    first = start(*QUICK, f"--state-dir={state}")
    done = first.bought(name="job-1")
    url = first.finished(done)["video"]["url"].removeprefix(first.url)
    failed, stuck = first.bought("[sandbox: error=face]"), first.bought("[sandbox: stuck]")
    bought, balance = first.purchases(), first.get("/v2/billing").json()
    first.process.kill()
    first.process.wait()

    second = start(*QUICK, f"--state-dir={state}")
    assert second.purchases() == bought
    assert second.get("/v2/billing").json() == balance
    assert second.poll(done).json()["status"] == "completed"
    assert second.poll(failed).json()["status"] == "error"
    assert second.poll(stuck).json()["status"] == "generating"
    assert second.download(second.url + url).status_code == 200
    assert second.bought() not in {done, failed, stuck}


def test_time_goes_on_while_the_sandbox_is_down(start: Start, state: Path) -> None:
    """A generation that became ready meanwhile is completed at the first poll."""
    first = start("--time-scale=100", "--latency-sigma=0", "--latency-median-s=200", f"--state-dir={state}")
    generation_id = first.bought()
    assert first.poll(generation_id).json()["status"] in ("queued", "generating")
    assert first.stop() == 0
    ready_ms = json.loads((state / GENERATIONS).read_text())["ready_ms"]

    second = start(*QUICK, f"--state-dir={state}")
    body = second.finished(generation_id)
    assert body["status"] == "completed"
    issued_ms = int(body["video"]["url"].rsplit("/", 1)[1].split("-")[0])
    assert issued_ms >= ready_ms


def test_a_torn_last_line_is_cut_off(start: Start, state: Path) -> None:
    """A kill during a write loses only that line, which was not acknowledged."""
    first = start(*QUICK, f"--state-dir={state}")
    kept = first.bought()
    first.stop()
    with (state / GENERATIONS).open("a") as generation_file:
        generation_file.write('{"n":1,"id":"torn-')

    second = start(*QUICK, f"--state-dir={state}")
    assert second.poll(kept).json()["status"] == "completed"
    added = second.bought()
    second.stop()
    third = start(*QUICK, f"--state-dir={state}")
    assert [third.poll(one).status_code for one in (kept, added)] == [200, 200]


def test_a_damaged_book_is_not_skipped_over(start: Start, state: Path) -> None:
    """Skipping damage would lose purchases, so the sandbox names the line and does not start."""
    first = start(*QUICK, f"--state-dir={state}")
    first.bought()
    first.stop()
    generation_file = state / GENERATIONS
    generation_file.write_text("nonsense\n" + generation_file.read_text())
    died = subprocess.run(
        command("--port=0", f"--state-dir={state}"), capture_output=True, text=True, timeout=30, check=False
    )
    assert died.returncode == 1
    assert "Line 1" in died.stderr
    assert "Traceback" not in died.stderr


def test_two_sandboxes_do_not_share_a_book(start: Start, state: Path) -> None:
    """They would issue the same ids twice."""
    start(*QUICK, f"--state-dir={state}")
    died = subprocess.run(
        command("--port=0", f"--state-dir={state}"), capture_output=True, text=True, timeout=30, check=False
    )
    assert died.returncode == 1
    assert "Another sandbox" in died.stderr


def test_reset_empties_the_book(start: Start, state: Path) -> None:
    """The generations are gone after a restart too."""
    first = start(*QUICK, f"--state-dir={state}")
    first.bought()
    first.post("/sandbox/reset")
    first.stop()
    assert start(*QUICK, f"--state-dir={state}").purchases()["total"] == 0
