"""Retention: what goes by age, by size, by how the job ended; and what is never touched."""

import json
from pathlib import Path
from typing import Final

import pytest
import redis
import requests
from ulid import ULID

from config.store import FolderStore
from jobs.artifacts import Artifact, path_of
from jobs.errors import WrongState
from jobs.job import Stored, Terms
from jobs.job_log import START
from jobs.ledger import Ledger
from jobs.states import State, Status
from producer.retention import ArchivedJob, Pruner, Rules, files_by_job, removals
from tests import steps
from tests.buckets import Bucket
from tests.stage import Clock, Stage, a_request

DAY_S: Final = 86_400.0


def archived(name: str, *, age_d: float, size: int = 10, status: Status | None = Status.COMPLETED) -> ArchivedJob:
    """One job's share of the archive, `age_d` days old at day 100."""
    return ArchivedJob(name, (100 - age_d) * DAY_S, status, (f"{name}.mp4",), size)


def removed(archive: list[ArchivedJob], rules: Rules) -> list[tuple[str, str]]:
    """The chosen removals and their rules, at day 100."""
    return [(removal.job.job_id, removal.why) for removal in removals(archive, rules, now=100 * DAY_S)]


# -- the rules -----------------------------------------------------------------------------------------------------


def test_what_is_too_old_goes_by_how_its_job_ended() -> None:
    """A late video that nobody waited for may be removed sooner than a punctual one."""
    archive = [
        archived("young", age_d=5),
        archived("old", age_d=40),
        archived("late", age_d=10, status=Status.EXPIRED),
        archived("later", age_d=3, status=Status.CANCELLED),
    ]
    rules = Rules(completed_s=30 * DAY_S, fetched_late_s=7 * DAY_S)
    assert removed(archive, rules) == [("old", "age"), ("late", "age")]


def test_what_is_over_the_total_goes_oldest_first_and_no_further() -> None:
    """After what goes by age anyway."""
    archive = [archived("c", age_d=1), archived("a", age_d=9), archived("b", age_d=5), archived("z", age_d=50)]
    assert removed(archive, Rules(completed_s=30 * DAY_S, most_bytes=15)) == [
        ("z", "age"),
        ("a", "size"),
        ("b", "size"),
    ]
    assert removed(archive, Rules(most_bytes=40)) == []


def test_a_job_under_way_loses_nothing_but_counts() -> None:
    """Its video may have its name already, and its row not yet know of it."""
    archive = [archived("under way", age_d=90, status=None), archived("done", age_d=1)]
    assert removed(archive, Rules(completed_s=DAY_S * 30, fetched_late_s=1, most_bytes=5)) == [("done", "size")]


def test_only_the_chosen_statuses_go() -> None:
    """`--status expired` leaves the rest, also when the total is over its bound."""
    archive = [archived("done", age_d=50), archived("late", age_d=40, status=Status.EXPIRED)]
    rules = Rules(completed_s=DAY_S, fetched_late_s=DAY_S, most_bytes=0, statuses=frozenset({Status.EXPIRED}))
    assert removed(archive, rules) == [("late", "age")]


def test_without_a_rule_nothing_goes() -> None:
    """The default keeps for ever."""
    assert removed([archived("a", age_d=99)], Rules()) == []
    assert not Rules().are_any


# -- the archive ---------------------------------------------------------------------------------------------------


def job_id_at(seconds: float) -> str:
    """The id of a job that was accepted then."""
    return f"job_{str(ULID.from_timestamp(seconds)).lower()}"


def put_video(store: FolderStore, job_id: str, *, status: str = "completed", manifest: bool = True) -> str:
    """A video with its manifest, as a worker leaves them."""
    video = f"2027/01/15/{job_id}.mp4"
    store.put(video, b"x" * 100, "video/mp4")
    if manifest:
        store.put(path_of(Artifact.MANIFEST, video), json.dumps({"status": status}).encode(), "application/json")
    return video


def ended(ledger: Ledger, job_id: str) -> None:
    """A completed row for that video."""
    stored = Stored(f"2027/01/15/{job_id}.mp4", 100, "ab", "video/mp4")
    steps.job_in(ledger, State.COMPLETED, terms=Terms(job_id=job_id, deadline_s=1000), stored=stored, cost_usd=1)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    """An empty archive."""
    return FolderStore(tmp_path / "archive")


def paths(store: FolderStore) -> set[str]:
    """What is in it."""
    return {item.path for item in store.items()}


def test_the_files_of_a_row_that_cannot_be_read_stay(
    store: FolderStore, ledger: Ledger, client: "redis.Redis", clock: Clock
) -> None:
    """Whether that job is over only a newer version knows; it is not a job whose row is gone."""
    job_id = job_id_at(clock.now)
    ended(ledger, job_id)
    put_video(store, job_id)
    client.hset(f"rushes:job:{job_id}", "state", "composing")
    clock.advance(DAY_S)

    assert Pruner(store, ledger).plan(Rules(completed_s=3600, fetched_late_s=3600, most_bytes=0)) == []


def test_the_manifest_of_a_video_with_its_turn_in_its_name_says_how_the_job_ended(
    store: FolderStore, ledger: Ledger, clock: Clock
) -> None:
    """Its usual name was taken; its row is gone, and late videos may go sooner than others."""
    video = f"2027/01/15/{job_id_at(clock.now)}.3.mp4"
    store.put(video, b"x" * 100, "video/mp4")
    store.put(path_of(Artifact.POSTER, video), b"x", "image/webp")
    store.put(path_of(Artifact.MANIFEST, video), json.dumps({"status": "expired"}).encode(), "application/json")
    clock.advance(DAY_S)

    (removal,) = Pruner(store, ledger).plan(Rules(completed_s=9 * DAY_S, fetched_late_s=3600))

    assert (removal.job.status, len(removal.job.paths)) == (Status.EXPIRED, 3)


def test_a_removed_video_is_recorded_in_row_and_job_log(store: FolderStore, ledger: Ledger, clock: Clock) -> None:
    """Everything that stands beside it goes with it; the row still knows what it was and what it cost."""
    job_id = job_id_at(clock.now)
    ended(ledger, job_id)
    put_video(store, job_id)
    clock.advance(DAY_S)
    pruner = Pruner(store, ledger)

    (one,) = pruner.plan(Rules(completed_s=3600))
    pruner.remove(one)

    assert paths(store) == set()
    job = ledger.get(job_id)
    assert job.removed_at == pytest.approx(clock.now, abs=0.01)
    assert job.cost_usd == 1
    assert job.stored is not None
    last = ledger.job_log.of(job_id)[-1]
    assert (last.event, last.data["why"]) == ("job.pruned", "age")
    pruner.remove(one)  # twice is once
    assert [entry.event for entry in ledger.job_log.of(job_id)].count("job.pruned") == 1


def test_a_video_whose_row_has_expired_goes_by_its_manifest(store: FolderStore, ledger: Ledger, clock: Clock) -> None:
    """The ledger forgets in a week, the archive does not; without a manifest it counts as completed."""
    done, late, unknown = (job_id_at(clock.now + n) for n in range(3))
    put_video(store, done)
    put_video(store, late, status="expired")
    put_video(store, unknown, manifest=False)
    clock.advance(30 * DAY_S)
    pruner = Pruner(store, ledger)

    plan = pruner.plan(Rules(fetched_late_s=7 * DAY_S))
    assert [removal.job.job_id for removal in plan] == [late]
    for one in plan:
        pruner.remove(one)
    ((job_id, entry),) = ledger.job_log.after(START, block_s=0.1).entries  # the event stream outlives rows and job logs
    assert (job_id, entry.event, entry.state, entry.data["why"]) == (late, "job.pruned", "expired", "age")

    assert {removal.job.job_id for removal in pruner.plan(Rules(completed_s=7 * DAY_S))} == {done, unknown}


def test_a_job_under_way_is_found_in_the_ledger(store: FolderStore, ledger: Ledger, clock: Clock) -> None:
    """The rename has happened, the edge has not."""
    job_id = job_id_at(clock.now)
    ledger.accept(a_request(), Terms(job_id=job_id, deadline_s=1000))
    put_video(store, job_id)
    clock.advance(30 * DAY_S)
    assert Pruner(store, ledger).plan(Rules(completed_s=1, fetched_late_s=1, most_bytes=0)) == []
    with pytest.raises(WrongState):
        ledger.prune(job_id, Status.COMPLETED, why="age", size_bytes=1)


def test_what_we_did_not_name_is_never_touched(store: FolderStore, ledger: Ledger) -> None:
    """A bucket may hold other things than ours."""
    put_video(store, job_id_at(0.0))
    for stranger in ("notes.txt", "2027/01/15/holiday.mp4", "2027/01/15/job_short.mp4", "job_x/2027/01/15.mp4"):
        store.put(stranger, b"mine", "text/plain")

    assert len(files_by_job(store.items())) == 1
    for one in Pruner(store, ledger).plan(Rules(most_bytes=0)):
        Pruner(store, ledger).remove(one)

    assert paths(store) == {"notes.txt", "2027/01/15/holiday.mp4", "2027/01/15/job_short.mp4", "job_x/2027/01/15.mp4"}


# -- by the command line -----------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_dry_run_touches_nothing_and_the_real_one_says_what_went(stage: Stage) -> None:
    """The same list both times; afterwards the download says why there is nothing."""
    with stage.worker(RUSHES_DESCRIBE__MANIFEST="true"):
        job_id = stage.service.submit(a_request()).job_id
        job = stage.ended(job_id)
    assert job.stored is not None
    file = stage.settings.archive_dir / job.stored.path

    dry = stage.rushes("archive", "prune", "--keep-bytes", "0", "--dry-run")
    assert (dry.returncode, file.exists()) == (0, True)
    assert f"would remove  {job_id}" in dry.stdout

    wet = stage.rushes("archive", "prune", "--keep-bytes", "0", "--json")
    assert json.loads(wet.stdout)["id"] == job_id
    assert not file.exists()
    assert "There is nothing to remove" in stage.rushes("archive", "prune", "--keep-bytes", "0").stdout

    ran = stage.rushes("download", job_id)
    assert ran.returncode == 3
    assert "Retention removed" in ran.stderr
    view = json.loads(stage.rushes("get", job_id, "--json").stdout)
    assert view["file"]["removed_at"] is not None


def test_without_a_rule_or_with_a_bad_one_it_says_what_to_give(stage: Stage) -> None:
    """Nothing is removed by a slip of the keyboard."""
    assert stage.rushes("archive", "prune").returncode == 2
    assert "30 parsecs" in stage.rushes("archive", "prune", "--older-than", "30 parsecs").stderr


@pytest.mark.long
def test_links_are_signed_or_the_apis_own_as_the_setting_says(stage: Stage, bucket: Bucket) -> None:
    """The receiver of the answer can fetch the video, without our credentials."""
    stage.environment |= {"RUSHES_ARCHIVE__URL": bucket.url, **bucket.environment}
    with stage.worker():
        job = stage.ended(stage.service.submit(a_request()).job_id)
    assert job.stored is not None
    assert json.loads(stage.rushes("get", job.id, "--json").stdout)["links"] == {}

    stage.environment["RUSHES_ARCHIVE__LINKS"] = "signed"
    links = json.loads(stage.rushes("get", job.id, "--json").stdout)["links"]
    assert len(requests.get(links["video"], timeout=10).content) == job.stored.size_bytes

    stage.environment |= {"RUSHES_ARCHIVE__LINKS": "api", "RUSHES_API__PUBLIC_URL": "https://rushes.example"}
    links = json.loads(stage.rushes("get", job.id, "--json").stdout)["links"]
    assert links == {"video": f"https://rushes.example/v1/videos/{job.id}/content"}


@pytest.mark.parametrize("links", ["signed", "api"])
def test_links_that_cannot_be_made_stop_the_process_at_its_start(stage: Stage, links: str) -> None:
    """In a sentence that names the other setting."""
    stage.environment["RUSHES_ARCHIVE__LINKS"] = links
    ran = stage.rushes("list")
    assert ran.returncode == 9
    assert {"signed": "RUSHES_ARCHIVE__URL", "api": "RUSHES_API__PUBLIC_URL"}[links] in ran.stderr
