"""`rushes download`: one job or many, into a folder, again and again."""

import hashlib
import json
from pathlib import Path

import pytest

from jobs.job import Stored, Terms, VideoRequest
from jobs.states import State
from producer.cli.exits import Exit
from producer.cli.results import file_name
from tests import steps
from tests.producer.terminal import Running
from tests.stage import Stage, a_request

BYTES = bytes(range(256)) * 12_000
"""More than one slice of the archive."""


def stored(stage: Stage, prompt: str, *, tenant: str | None = None, missing: bool = False, scene: str = "1") -> str:
    """A completed job whose video is in the archive, or is missing there."""
    request = VideoRequest("google/veo3", prompt, {}, {"scene": scene})
    job_id = stage.ledger.accept(request, Terms(tenant=tenant)).job_id
    place = Path(stage.settings.archive_dir) / "2026" / f"{job_id}.mp4"
    place.parent.mkdir(parents=True, exist_ok=True)
    if not missing:
        place.write_bytes(BYTES)
    sha256 = hashlib.sha256(BYTES).hexdigest()
    steps.walked(
        stage.ledger, job_id, State.COMPLETED, stored=Stored(f"2026/{job_id}.mp4", len(BYTES), sha256, "video/mp4")
    )
    return job_id


def test_a_folder_gets_what_fits_and_a_second_run_only_what_is_missing(stage: Stage) -> None:
    """A name begins with the job's id and says what is in the file; half a file is fetched again."""
    first, second = stored(stage, "A paper boat, in the rain!", scene="2"), stored(stage, "紙の船", scene="2")
    stored(stage, "another scene")
    steps.job_in(stage.ledger, State.RENDERING)
    arguments = ("download", "--metadata", "scene=2", "-o", "videos", "--json")

    ran = stage.rushes(*arguments)

    assert ran.returncode == Exit.DONE, ran.stderr
    names = sorted(file.name for file in (stage.folder / "videos").iterdir())
    assert names == [f"{first}-a-paper-boat-in-the-rain.mp4", f"{second}-紙の船.mp4"]
    assert {json.loads(line)["saved"] for line in ran.stdout.splitlines()} == {
        str(stage.folder / "videos" / name) for name in names
    }
    assert "2 saved, 0 there already, 0 failed" in ran.stderr

    (stage.folder / "videos" / names[0]).write_bytes(BYTES[:-1])
    again = stage.rushes(*arguments)
    assert "1 saved, 1 there already, 0 failed" in again.stderr
    assert (stage.folder / "videos" / names[0]).read_bytes() == BYTES


def test_each_failure_is_a_line_and_stops_no_other(stage: Stage) -> None:
    """And the exit code says that something is missing."""
    lost, good = stored(stage, "lost", missing=True), stored(stage, "good")
    waiting = stage.ledger.accept(a_request()).job_id

    ran = stage.rushes("download", lost, "job_unknown", good, waiting, "-o", "videos")

    assert ran.returncode == Exit.UNKNOWN_JOB
    assert [file.name for file in (stage.folder / "videos").iterdir()] == [f"{good}-good.mp4"]
    assert "There is no job job_unknown." in ran.stderr
    assert f"{lost}: this host cannot read the video" in ran.stderr
    assert f"{waiting} is queued: there is no stored video to copy. `rushes wait {waiting}`" in ran.stderr
    assert "1 saved, 0 there already, 3 failed" in ran.stderr


def test_filters_are_those_of_a_list(stage: Stage) -> None:
    """Tenant, model, label, and when it was accepted."""
    shop = stored(stage, "shop's", tenant="shop")
    stored(stage, "another's")

    def listed(*options: str) -> set[str]:
        ran = stage.rushes("list", "--json", *options)
        assert ran.returncode == Exit.DONE, ran.stderr
        return {json.loads(line)["id"] for line in ran.stdout.splitlines()}

    assert listed("--tenant", "shop", "--since", "1h") == {shop}
    assert len(listed("--since", "1 min")) == 2
    assert listed("--until", "2020-01-01") == listed("--since", "2999-01-01T10:00") == set()
    assert stage.rushes("download", "--tenant", "shop", "--since", "1h", "-o", "v").returncode == Exit.DONE
    assert stage.rushes("download", shop, "-o", "new/").returncode == Exit.DONE
    assert (stage.folder / "new" / f"{shop}-shop-s.mp4").exists()
    assert [file.name for file in (stage.folder / "v").iterdir()] == [f"{shop}-shop-s.mp4"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Give job ids, or choose by"),
        (["job_1", "--all"], "Give job ids, or choose by"),
        (["--since", "yesterday"], "--since takes an age such as 2h or 3d"),
        (["--metadata", "scene"], "--metadata takes name=value"),
    ],
)
def test_a_choice_that_cannot_be_understood_is_told(stage: Stage, arguments: list[str], words: str) -> None:
    """Nothing is downloaded by mistake."""
    ran = stage.rushes("download", *arguments)

    assert ran.returncode == Exit.USAGE
    assert words in ran.stderr


def test_a_terminal_sees_rate_and_time_left(stage: Stage) -> None:
    """A pipe does not."""
    for n in range(3):
        stored(stage, f"boat {n}")

    with Running.started(stage, "download", "--all", "-o", "videos", in_terminal=True) as running:
        assert running.ends() == Exit.DONE
    assert "videos" in running.said
    assert "/s" in running.said
    assert "3 saved" in running.said
    assert "/s" not in stage.rushes("download", "--all", "-o", "others").stderr


@pytest.mark.parametrize("prompt", ["../../etc/passwd", "a" * 300, "\x1b[31m", "", "CON: <>|?*"])
def test_a_files_name_is_harmless_whatever_the_prompt(prompt: str) -> None:
    """It is a stranger's text."""
    name = file_name("job_1", a_request(prompt), "2026/job_1.mp4")

    assert name.startswith("job_1")
    assert name.endswith(".mp4")
    assert len(name) < 80
    assert not set(name) & set("/\\:<>|?* \x1b[")
