"""Removes videos from the archive by age, total size and status. It never touches files that Rushes did not write."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from config.store import Item, NotThere, Store
from jobs.artifacts import Artifact, path_of
from jobs.ledger import Ledger, accepted_at
from jobs.states import State, Status

_OURS: Final = re.compile(r"(\d{4}/\d{2}/\d{2}/(job_[0-9a-hjkmnp-tv-z]{26}))((?:\.[a-z0-9]+)+)")
_BATCH: Final = 200


@dataclass(frozen=True, slots=True)
class Rules:
    """The longest age of a video in seconds since its job was accepted, by status, and the archive's size in bytes.

    None: no limit. With `statuses`, only videos of jobs that ended so are removed.
    """

    completed_s: float | None = None
    fetched_late_s: float | None = None
    most_bytes: int | None = None
    statuses: frozenset[Status] = frozenset()

    @property
    def are_any(self) -> bool:
        """Whether any limit is set."""
        return (self.completed_s, self.fetched_late_s, self.most_bytes) != (None, None, None)

    @property
    def need_statuses(self) -> bool:
        """Whether the limits depend on how a job ended."""
        return bool(self.statuses) or self.completed_s != self.fetched_late_s

    def oldest_s(self, status: Status) -> float | None:
        """The longest age, in seconds, of a video of a job that ended so."""
        return self.completed_s if status is Status.COMPLETED else self.fetched_late_s


@dataclass(frozen=True, slots=True)
class ArchivedJob:
    """One job's files in the archive. `status` is None while the job is under way: then they stay."""

    job_id: str
    accepted_at: float
    status: Status | None
    paths: tuple[str, ...]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Removal:
    """A job whose files are to be removed, and the rule that says so."""

    job: ArchivedJob
    why: str


def removals(archive: Iterable[ArchivedJob], rules: Rules, *, now: float) -> list[Removal]:
    """Choose what to remove, oldest first: all that is too old, then until the rest is within the size limit."""
    by_age = sorted(archive, key=lambda job: job.accepted_at)
    found, left = [], sum(job.size_bytes for job in by_age)
    for job in by_age:
        if job.status is None or (rules.statuses and job.status not in rules.statuses):
            continue
        oldest_s = rules.oldest_s(job.status)
        if oldest_s is not None and now - job.accepted_at > oldest_s:
            found.append(Removal(job, "age"))
            left -= job.size_bytes
    chosen = {removal.job.job_id for removal in found}
    for job in by_age:
        if rules.most_bytes is None or left <= rules.most_bytes:
            break
        if job.job_id in chosen or job.status is None or (rules.statuses and job.status not in rules.statuses):
            continue
        found.append(Removal(job, "size"))
        left -= job.size_bytes
    return found


@dataclass
class _Files:
    accepted_at: float
    paths: list[str] = field(default_factory=list)
    size_bytes: int = 0


class Pruner:
    """Lists the archive and removes files by rules, each removal first recorded in the job log."""

    def __init__(self, store: Store, ledger: Ledger) -> None:
        self._store = store
        self._ledger = ledger

    def plan(self, rules: Rules) -> list[Removal]:
        """Choose what the rules remove, without removing it.

        Raises:
            StoreError: the archive cannot be listed.
            LedgerUnavailable: Redis cannot say which jobs are under way, so nothing may be removed.
        """
        return removals(self._archived(rules), rules, now=self._ledger.now())

    def remove(self, removal: Removal) -> None:
        """Record the removal, then remove the job's files; a crash in between leaves files that the next run finds.

        Raises:
            StoreError: the files could not be removed; the next run finds them.
        """
        job = removal.job
        assert job.status is not None  # a job under way is never chosen
        self._ledger.prune(job.job_id, job.status, why=removal.why, size_bytes=job.size_bytes)
        self._store.remove(job.paths)

    def _archived(self, rules: Rules) -> Iterator[ArchivedJob]:
        files = files_by_job(self._store.items())
        ids = sorted(files)
        for start in range(0, len(ids), _BATCH):
            some = ids[start : start + _BATCH]
            states = self._ledger.states(some)
            for job_id in some:
                of = files[job_id]
                status = self._status(job_id, states, of.paths, rules)
                yield ArchivedJob(job_id, of.accepted_at, status, tuple(of.paths), of.size_bytes)

    def _status(
        self, job_id: str, states: Mapping[str, State | None], paths: Sequence[str], rules: Rules
    ) -> Status | None:
        """Read how the job ended from its row, else from its manifest, else assume that it completed.

        None while it is under way, and if only a newer version can read its row.
        """
        if job_id in states:
            state = states[job_id]
            return state.status if state is not None and state.is_final else None
        return self._status_in_manifest(paths) if rules.need_statuses else Status.COMPLETED

    def _status_in_manifest(self, paths: Sequence[str]) -> Status:
        for path in paths:
            if path == path_of(Artifact.MANIFEST, path):
                with suppress(NotThere, ValueError, KeyError, TypeError):
                    return Status(json.loads(b"".join(self._store.slices(path)))["status"])
        return Status.COMPLETED


def files_by_job(items: Iterable[Item]) -> Mapping[str, _Files]:
    """Group the archive's files by job; files with other names are left out."""
    found: dict[str, _Files] = {}
    for item in items:
        ours = _OURS.fullmatch(item.path)
        if ours is None:
            continue
        job_id = ours[2]
        if job_id not in found:
            found[job_id] = _Files(accepted_at(job_id))
        found[job_id].paths.append(item.path)
        found[job_id].size_bytes += item.size_bytes
    return found
