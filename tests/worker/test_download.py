"""Two fetches of one video: each has a file of its own, and the one that the row does not name is removed."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from config.settings import ArchiveSettings
from config.store import FolderStore
from jobs.errors import StaleTurn
from jobs.facts import Fetched, Pending
from jobs.job import Stored
from jobs.ledger import Ledger
from jobs.moves.follow_up import after_late_download
from jobs.moves.poll import after_poll
from jobs.states import FollowUp, State
from jobs.work_items import LEASE_S, Item
from tests import steps
from tests.stage import Clock
from worker.archive.archive import Archive
from worker.download import discard_unless_kept, write_follow_up

DAY: Final = "2027/01/15"


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """An empty archive."""
    return Archive(FolderStore(tmp_path / "archive"), tmp_path, ArchiveSettings(), permits=lambda _: True)


@pytest.fixture
def keep(archive: Archive, tmp_path: Path) -> Callable[[str], Stored]:
    """Keeps a video under a name."""

    def kept(name: str) -> Stored:
        (tmp_path / "made").write_bytes(name.encode())
        archive.store.keep(str(tmp_path / "made"), f"{DAY}/{name}", "video/mp4", within_s=9)
        return Stored(f"{DAY}/{name}", len(name), "ab", "video/mp4")

    return kept


def names(archive: Archive) -> set[str]:
    """The names of its files."""
    return {Path(item.path).name for item in archive.store.items()}


def late(ledger: Ledger, item: Item, stored: Stored, archive: Archive) -> None:
    """Write that this late video is in the archive, as a worker does."""
    assert item.job is not None
    move = after_late_download(item.job, steps.VIDEO, Fetched(stored), now=0.0, policy=steps.POLICY)
    write_follow_up(ledger, archive, item, move, made=stored)


def test_of_two_late_fetches_the_one_whose_turn_is_over_leaves_no_file(
    ledger: Ledger, clock: Clock, archive: Archive, keep: Callable[[str], Stored]
) -> None:
    """A worker froze past its lease; another fetched the same paid video."""
    job = steps.job_in(ledger, State.RENDERING)
    clock.advance(job.deadline_s)
    ledger.move(job, after_poll(job, Pending("generating"), now=clock.now, policy=steps.POLICY))
    clock.advance(steps.POLICY.late_fetch_first_s)
    (frozen,) = steps.claimed_items(ledger, FollowUp.LATE_FETCH)
    clock.advance(LEASE_S)
    (claimed,) = steps.claimed_items(ledger, FollowUp.LATE_FETCH)

    late(ledger, claimed, keep("clip.mp4"), archive)
    with pytest.raises(StaleTurn):
        late(ledger, frozen, keep("clip.3.mp4"), archive)

    assert ledger.get(job.id).stored == Stored(f"{DAY}/clip.mp4", 8, "ab", "video/mp4")
    assert names(archive) == {"clip.mp4"}


def test_a_copy_that_the_row_names_stays_until_it_is_erased(
    ledger: Ledger, archive: Archive, keep: Callable[[str], Stored]
) -> None:
    """The answer to the move was lost, and its repetition is stale: the video is the job's all the same."""
    stored = keep("clip.mp4")
    job = steps.job_in(ledger, State.COMPLETED, stored=stored)

    discard_unless_kept(ledger, archive, job.id, stored)
    assert names(archive) == {"clip.mp4"}

    ledger.erase(job)
    discard_unless_kept(ledger, archive, job.id, stored)
    assert names(archive) == set()
