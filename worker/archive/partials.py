"""Downloads under way: a file each, locked by its writer, kept after a break so that the next try can resume it.

<folder>/job_….<turn>          the bytes so far
<folder>/job_….<turn>.mark     the file that they belong to; without it a later try cannot use them

Names are plain strings, as in config/store.py.
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

from config.private import close_to_others, make_folder

_MARK: Final = ".mark"


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


_BOOT: Final = _boot_id()


@dataclass(frozen=True, slots=True)
class Mark:
    """The whole file of a partial one: its URL without the query, and the server's validator of its bytes.

    `validator` is for If-Range: the ETag if it is a strong one, else the date.
    `boot` names this run of the machine: after a power cut the disk may have lost bytes that were written before.
    """

    url: str
    validator: str
    length: int | None
    etag: str = ""
    last_modified: str = ""
    boot: str = field(default_factory=lambda: _BOOT)


class Partial:
    """One download's file. It is removed after the download, unless `keep` says that a later try can use it."""

    def __init__(self, path: str, file: BufferedRandom, mark: Mark | None) -> None:
        self.path = path
        self.file = file
        self.mark = mark
        self.keep = False

    @property
    def size(self) -> int:
        """The file's size in bytes."""
        return self.file.seek(0, 2)

    def restart(self, mark: Mark | None) -> None:
        """Drop the bytes, and begin the file of `mark`."""
        self.file.seek(0)
        self.file.truncate()
        self.mark = mark
        _unlink(_mark_of(self.path))
        if mark is not None:
            with open(_mark_of(self.path), "w", encoding="utf-8") as file:
                json.dump(asdict(mark), file)

    def digest(self) -> Any:
        """Return the SHA-256 of the bytes so far, to be updated with the next ones."""
        self.file.seek(0)
        return hashlib.file_digest(self.file, "sha256")


class Partials:
    """The folder of downloads under way."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        close_to_others(folder)

    @contextlib.contextmanager
    def opened(self, job_id: str, turn: int) -> Iterator[Partial]:
        """Open the job's download: an earlier try's file if its writer is gone, else a new one.

        Raises:
            OSError: the folder cannot be written.
        """
        make_folder(self._folder)
        path = f"{self._folder}/{job_id}.{turn}"
        partial = self._adopted(job_id, path) or _begun(path)
        try:
            yield partial
        finally:
            with contextlib.suppress(OSError):  # unflushed bytes are useless now
                partial.file.close()
            if not partial.keep:
                with contextlib.suppress(OSError):
                    _remove(path)

    def sweep(self, *, before: float) -> None:
        """Remove files without a write since `before`, seconds since the epoch: their jobs go on elsewhere."""
        with contextlib.suppress(FileNotFoundError), os.scandir(self._folder) as found:
            for entry in found:
                with contextlib.suppress(OSError):
                    if entry.stat().st_mtime < before:
                        os.unlink(entry.path)

    def _adopted(self, job_id: str, path: str) -> Partial | None:
        """Return the longest file of earlier tries that has no writer any more, and remove the others."""
        there = [name for name in os.listdir(self._folder) if name.startswith(f"{job_id}.")]
        left = [f"{self._folder}/{name}" for name in there if not name.endswith(_MARK)]
        for found in sorted(left, key=_size, reverse=True):
            partial = _locked(found)
            if partial is not None and partial.mark is not None and not os.path.exists(path):
                _rename(found, path)
                partial.path = path
                return partial
            if partial is not None:
                partial.file.close()
            _remove(found)
        return None


def _begun(path: str) -> Partial:
    file = open(path, "w+b")  # noqa: SIM115 (`opened` closes it)
    _lock(file)
    return Partial(path, file, None)


def _locked(path: str) -> Partial | None:
    """Open and lock the file; None if its writer is alive, as that one has the lock."""
    try:
        file = open(path, "r+b")  # noqa: SIM115 (as above)
    except OSError:
        return None
    if not _lock(file):
        file.close()
        return None
    return Partial(path, file, _read_mark(path))


def _lock(file: BufferedRandom) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # another has the lock, or the file system has no locks: either way not ours
        return False
    return True


def _read_mark(path: str) -> Mark | None:
    try:
        with open(_mark_of(path), encoding="utf-8") as file:
            mark = Mark(**json.load(file))
    except (OSError, ValueError, TypeError):
        return None
    return mark if mark.boot == _BOOT else None


def _rename(old: str, new: str) -> None:
    os.replace(old, new)
    os.replace(_mark_of(old), _mark_of(new))


def _remove(path: str) -> None:
    _unlink(path)
    _unlink(_mark_of(path))


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _mark_of(path: str) -> str:
    return path + _MARK


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
