"""Downloads under way: a file each, locked by its writer, kept after a break so that the next try can go on with it.

<folder>/job_….<turn>          the bytes so far
<folder>/job_….<turn>.mark     what they are the beginning of; without it they are of no use to a later try
"""

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from io import BufferedRandom
from pathlib import Path
from typing import Any, Final

_MARK: Final = ".mark"


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


_BOOT: Final = _boot_id()


@dataclass(frozen=True, slots=True)
class Mark:
    """What a partial file is the beginning of: the URL without its query, the server's word for the very bytes.

    `boot` names this run of the machine: what was written before a power cut may not be what is on the disk after it.
    """

    url: str
    validator: str
    length: int | None
    boot: str = field(default_factory=lambda: _BOOT)


class Partial:
    """One download's file. It goes when its download is over, unless `keep` says that a later try can use it."""

    def __init__(self, path: Path, file: BufferedRandom, mark: Mark | None) -> None:
        self.path = path
        self.file = file
        self.mark = mark
        self.keep = False

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return self.file.seek(0, 2)

    def restart(self, mark: Mark | None) -> None:
        """Forget the bytes, and begin those of `mark`."""
        self.file.seek(0)
        self.file.truncate()
        self.mark = mark
        _mark_of(self.path).unlink(missing_ok=True)
        if mark is not None:
            _mark_of(self.path).write_text(json.dumps(asdict(mark)), encoding="utf-8")

    def digest(self) -> Any:
        """SHA-256 of the bytes so far, to be updated with those that follow."""
        self.file.seek(0)
        return hashlib.file_digest(self.file, "sha256")


class Partials:
    """The folder of downloads under way."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextlib.contextmanager
    def taken(self, job_id: str, turn: int) -> Iterator[Partial]:
        """The job's download, taken over from an earlier try where its writer is gone, else begun anew.

        Raises:
            OSError: the folder cannot be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{job_id}.{turn}"
        partial = self._adopted(job_id, path) or _begun(path)
        try:
            yield partial
        finally:
            with contextlib.suppress(OSError):  # what it still held is of no use, or was flushed before
                partial.file.close()
            if not partial.keep:
                with contextlib.suppress(OSError):
                    _remove(path)

    def sweep(self, *, before: float) -> None:
        """Remove what nobody has written to since `before`, seconds since the epoch: its job goes on elsewhere."""
        for path in self._folder.glob("*"):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < before:
                    path.unlink()

    def _adopted(self, job_id: str, path: Path) -> Partial | None:
        """The most that an earlier try got, if nobody writes to it any more; the rest of what was left is removed."""
        # Listed, not globbed: pathlib would compile a pattern anew for each download, at ten times the cost.
        there = os.listdir(self._folder)  # noqa: PTH208 (its paths are made for those that count)
        left = [self._folder / name for name in there if name.startswith(f"{job_id}.") and not name.endswith(_MARK)]
        for found in sorted(left, key=_size, reverse=True):
            partial = _locked(found)
            if partial is not None and partial.mark is not None and not path.exists():
                _rename(found, path)
                partial.path = path
                return partial
            if partial is not None:
                partial.file.close()
            _remove(found)
        return None


def _begun(path: Path) -> Partial:
    file = path.open("w+b")
    _lock(file)
    return Partial(path, file, None)


def _locked(path: Path) -> Partial | None:
    """The file, if its writer is gone; a writer that lives holds its lock."""
    try:
        file = path.open("r+b")
    except OSError:
        return None
    if not _lock(file):
        file.close()
        return None
    return Partial(path, file, _read_mark(path))


def _lock(file: BufferedRandom) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held by another, or a file system without locks: either way not ours to take over
        return False
    return True


def _read_mark(path: Path) -> Mark | None:
    try:
        mark = Mark(**json.loads(_mark_of(path).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return mark if mark.boot == _BOOT else None


def _rename(old: Path, new: Path) -> None:
    old.replace(new)
    _mark_of(old).replace(_mark_of(new))


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    _mark_of(path).unlink(missing_ok=True)


def _mark_of(path: Path) -> Path:
    return path.with_name(path.name + _MARK)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
