"""What of the archive may go: by age, by total size, by how the job ended. What is not ours is never touched."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ulid import ULID

from config.store import Item, NotThere, Store
from jobs.artifacts import Artifact, path_of
from jobs.ledger import Ledger
from jobs.states import State, Status

_OURS: Final = re.compile(r"(\d{4}/\d{2}/\d{2}/(job_[0-9a-hjkmnp-tv-z]{26}))((?:\.[a-z0-9]+)+)")
_BATCH: Final = 200


@dataclass(frozen=True, slots=True)
class Rules:
    """How long videos are kept after their order, by how the job ended, and how many bytes in all; None: no bound.

    `statuses`, if any, are the only ones that may go.
    """

    completed_s: float | None = None
    fetched_late_s: float | None = None
    most_bytes: int | None = None
    statuses: frozenset[Status] = frozenset()

    @property
    def are_any(self) -> bool:
        """Whether anything could go by them at all."""
        return (self.completed_s, self.fetched_late_s, self.most_bytes) != (None, None, None)

    @property
    def need_statuses(self) -> bool:
        """Whether it matters how a job ended."""
        return bool(self.statuses) or self.completed_s != self.fetched_late_s

    def oldest_s(self, status: Status) -> float | None:
        """How old a video of a job that ended so may become."""
        return self.completed_s if status is Status.COMPLETED else self.fetched_late_s


@dataclass(frozen=True, slots=True)
class Kept:
    """What one job has in the archive. `status` is None while the job is under way: then nothing of it goes."""

    job_id: str
    accepted_at: float
    status: Status | None
    paths: tuple[str, ...]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Doomed:
    """What is to go, and by which rule."""

    kept: Kept
    why: str


def doomed(archive: Iterable[Kept], rules: Rules, *, now: float) -> list[Doomed]:
    """What must go, the oldest first: first what is too old, then as much as the total is over its bound."""
    by_age = sorted(archive, key=lambda kept: kept.accepted_at)
    found, left = [], sum(kept.size_bytes for kept in by_age)
    for kept in by_age:
        if kept.status is None or (rules.statuses and kept.status not in rules.statuses):
            continue
        oldest_s = rules.oldest_s(kept.status)
        if oldest_s is not None and now - kept.accepted_at > oldest_s:
            found.append(Doomed(kept, "age"))
            left -= kept.size_bytes
    gone = {one.kept.job_id for one in found}
    for kept in by_age:
        if rules.most_bytes is None or left <= rules.most_bytes:
            break
        if kept.job_id in gone or kept.status is None or (rules.statuses and kept.status not in rules.statuses):
            continue
        found.append(Doomed(kept, "size"))
        left -= kept.size_bytes
    return found


@dataclass
class _Gathered:
    accepted_at: float
    paths: list[str] = field(default_factory=list)
    size_bytes: int = 0


class Pruner:
    """Finds out what the archive holds, and removes what must go; the job log is told first."""

    def __init__(self, store: Store, ledger: Ledger) -> None:
        self._store = store
        self._ledger = ledger

    def plan(self, rules: Rules) -> list[Doomed]:
        """What must go by the rules, with nothing touched.

        Raises:
            StoreError: the archive cannot be listed.
            LedgerUnavailable: whether a job is under way cannot be learnt, so that nothing may go.
        """
        return doomed(self._kept(rules), rules, now=self._ledger.now())

    def remove(self, one: Doomed) -> None:
        """Remove one job's files. It is told first: a death in between leaves files that the next run finds.

        Raises:
            StoreError: they could not be removed; the next run finds them.
        """
        kept = one.kept
        assert kept.status is not None  # what is under way is never doomed
        self._ledger.removals.record(kept.job_id, kept.status, why=one.why, size_bytes=kept.size_bytes)
        self._store.remove(kept.paths)

    def _kept(self, rules: Rules) -> Iterator[Kept]:
        gathered = gather(self._store.items())
        ids = sorted(gathered)
        for start in range(0, len(ids), _BATCH):
            some = ids[start : start + _BATCH]
            states = self._ledger.states(some)
            for job_id in some:
                of = gathered[job_id]
                status = self._status(job_id, states, of.paths, rules)
                yield Kept(job_id, of.accepted_at, status, tuple(of.paths), of.size_bytes)

    def _status(
        self, job_id: str, states: Mapping[str, State | None], paths: Sequence[str], rules: Rules
    ) -> Status | None:
        """How the job ended: the row knows, or its manifest; a video that nobody knows of was completed.

        None while it is under way, and where only a newer version can read its row.
        """
        if job_id in states:
            state = states[job_id]
            return state.status if state is not None and state.is_final else None
        return self._told_by_manifest(paths[0]) if rules.need_statuses else Status.COMPLETED

    def _told_by_manifest(self, path: str) -> Status:
        base = path.partition(".")[0]
        try:
            story = json.loads(b"".join(self._store.slices(path_of(Artifact.MANIFEST, f"{base}.mp4"))))
            return Status(story["status"])
        except (NotThere, ValueError, KeyError, TypeError):
            return Status.COMPLETED


def gather(items: Iterable[Item]) -> Mapping[str, _Gathered]:
    """The files of each job; a name that we did not give belongs to none."""
    found: dict[str, _Gathered] = {}
    for item in items:
        ours = _OURS.fullmatch(item.path)
        if ours is None:
            continue
        job_id = ours[2]
        if job_id not in found:
            found[job_id] = _Gathered(ULID.from_str(job_id.removeprefix("job_").upper()).timestamp)
        found[job_id].paths.append(item.path)
        found[job_id].size_bytes += item.size_bytes
    return found
