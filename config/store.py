"""The store of the archive's files, a folder or a bucket: workers write it, producers read it.

<root>/2026/11/22/job_….mp4     appears complete or not at all
<root>/.partial/                unfinished files of a folder; not part of the archive
<root>/inputs/                  the parameters of large requests (config/inputs.py); not part of the archive

Names are plain strings: pathlib interns every part of a path, and each video has a few new names.
A bucket's endpoint and credentials come from the usual variables (AWS_…, GOOGLE_…, AZURE_…), never from a setting.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from stat import S_IMODE
from typing import Any, Final, Protocol, cast
from uuid import uuid4

import obstore
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, LocalStore, S3Store, from_url

from config.private import FILE_MODE, make_folder
from config.settings import CONNECT_S, ArchiveSettings, ConfigurationError, Settings
from jobs.artifacts import is_within
from jobs.errors import RushesError

SLICE_BYTES: Final = 2_097_152
"""Bytes per read, so that a time-out applies to a slice and not to a whole large video on a slow line."""

PART_BYTES: Final = 5_242_880
"""The smallest part that S3 accepts; an upload keeps two in memory."""

PARTS_AT_ONCE: Final = 2
PARTIALS: Final = ".partial"
INPUTS: Final = "inputs"
_LONGEST_MESSAGE: Final = 200

Bucket = S3Store | GCSStore | AzureStore


class StoreError(RushesError):
    """The store cannot be used now: try again later, or report it. The message contains no secret."""


class NotThere(StoreError):
    """The store has no such file."""


class NameTaken(StoreError):
    """Another file has this name."""


@dataclass(frozen=True, slots=True)
class Item:
    """One file of the archive; `path` is relative to its root, `modified_at` seconds since the epoch."""

    path: str
    size_bytes: int
    modified_at: float


class Store(Protocol):
    """A folder or a bucket. Methods raise StoreError for the disk, the network, and a path outside the root.

    Paths come from Redis: somebody who can write there must not read or remove other files of this machine.
    """

    root: str

    def keep(self, file: str, path: str, content_type: str, *, within_s: float) -> None:
        """Move or upload a complete local file to this path.

        Raises:
            NameTaken: a file has it; it stays, because a row may hold its checksum.
        """

    def put(self, path: str, data: bytes, content_type: str) -> None:
        """Write a small file, replacing an older one."""

    def slices(self, path: str) -> Iterator[bytes]:
        """Yield a file's bytes in slices."""

    def remove(self, paths: Sequence[str]) -> None:
        """Remove files; a missing one is no error."""

    def beginning_with(self, start: str) -> Sequence[str]:
        """List the files of one folder whose paths begin so."""

    def items(self) -> Iterator[Item]:
        """Yield every file of the archive."""

    def local(self, path: str) -> str | None:
        """Return the file's path on this machine, or None for a bucket."""

    def signed_url(self, path: str, *, life_s: float) -> str | None:
        """Return a URL that serves the file without credentials for `life_s` seconds; None for a folder."""

    def check(self) -> None:
        """List the first file, to check that the store answers."""


def open_store(settings: Settings) -> Store:
    """Open the configured store, without a request to it.

    Raises:
        ConfigurationError: its address or environment is invalid.
    """
    if settings.archive.url is None:
        return FolderStore(settings.archive_dir)
    return BucketStore(settings.archive.url, settings.archive)


class _Objects:
    """The common part of folder and bucket."""

    root: str
    objects: LocalStore | Bucket

    def local(self, path: str) -> str | None:
        """Return the file's path on this machine, or None for a bucket."""
        raise NotImplementedError

    def slices(self, path: str) -> Iterator[bytes]:
        """Read the file slice by slice."""
        with _mapped_errors():
            self.local(path)
            size = obstore.head(self.objects, path)["size"]
            for start in range(0, size, SLICE_BYTES):
                yield bytes(obstore.get_range(self.objects, path, start=start, end=min(start + SLICE_BYTES, size)))

    def items(self) -> Iterator[Item]:
        """List all files of the archive."""
        with _mapped_errors():
            for chunk in obstore.list(self.objects):
                for found in chunk:
                    if not found["path"].startswith((f"{PARTIALS}/", f"{INPUTS}/")):
                        yield Item(found["path"], found["size"], found["last_modified"].timestamp())

    def check(self) -> None:
        """List the first file."""
        with _mapped_errors():
            next(iter(obstore.list(self.objects, chunk_size=1)), None)


class FolderStore(_Objects):
    """A local or mounted folder; a file is on disk before its name appears."""

    def __init__(self, folder: Path) -> None:
        self.root = str(folder)

    @cached_property
    def objects(self) -> LocalStore:  # type: ignore[override]  # made at first use: a producer may not have the folder
        """The folder as an obstore store."""
        return LocalStore(self.root)

    def keep(self, file: str, path: str, content_type: str, *, within_s: float) -> None:  # noqa: ARG002 (a rename knows neither)
        """Rename the file, which must be on the same disk; it becomes as readable as the archive's folder."""
        self._place(file, path, _rename_to_free_name)

    def _place(self, file: str, path: str, rename: Callable[[str, str], None]) -> None:
        with _mapped_errors():
            final = self.local(path)
            folder = os.path.dirname(final)
            make_folder(self.root)
            allowed = S_IMODE(os.stat(self.root).st_mode)
            make_folder(folder, allowed & 0o777)
            with suppress(PermissionError):  # some network file systems do not permit it
                os.chmod(file, FILE_MODE | allowed & 0o044)
            rename(file, final)
            _flush_folder(folder)

    def put(self, path: str, data: bytes, content_type: str) -> None:  # noqa: ARG002 (a folder keeps no types)
        """Write a temporary file, flush it, rename it."""
        partials = f"{self.root}/{PARTIALS}"
        partial = f"{partials}/{uuid4().hex}"
        with _mapped_errors():
            make_folder(partials)
            try:
                with open(partial, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                self._place(partial, path, os.replace)
            finally:
                _unlink(partial)

    def remove(self, paths: Sequence[str]) -> None:
        """Unlink the files."""
        with _mapped_errors():
            for file in list(map(self._named, paths)):
                _unlink(file)

    def beginning_with(self, start: str) -> Sequence[str]:
        """List the names in the file system's folder."""
        folder, _, name = start.rpartition("/")
        with _mapped_errors(), suppress(FileNotFoundError):
            return [
                f"{folder}/{found}"
                for found in os.listdir(os.path.dirname(self._named(start)))
                if found.startswith(name)
            ]
        return []

    def local(self, path: str) -> str:
        """Return the path in the folder."""
        found = self._named(path)
        if os.path.islink(found):
            raise StoreError("a file of the archive is a link: somebody else made it")
        return found

    def _named(self, path: str) -> str:
        """Return the path of a name in the folder; its folders may not lead out of the archive."""
        found, root = f"{self.root}/{_within(path)}", os.path.realpath(self.root)
        if os.path.commonpath([os.path.realpath(os.path.dirname(found)), root]) != root:
            raise StoreError("a folder of the archive is a link that leads out of it: somebody else made it")
        return found

    def signed_url(self, path: str, *, life_s: float) -> str | None:  # noqa: ARG002 (a folder serves nothing)
        """Return None: a folder serves no URLs."""
        return None


class BucketStore(_Objects):
    """An object store: s3://, gs:// or az://. A name appears when its upload is complete."""

    def __init__(self, url: str, settings: ArchiveSettings) -> None:
        self.root = url.rstrip("/")
        retries = {"max_retries": 3, "retry_timeout": timedelta(seconds=settings.total_timeout_s)}
        client = {
            "timeout": timedelta(seconds=settings.read_timeout_s),  # of one part or slice
            "connect_timeout": timedelta(seconds=CONNECT_S),
            "allow_http": True,  # the endpoint's scheme decides
        }
        try:
            with _mapped_errors():
                self.objects = self._bucket = _opened(self.root, client, retries)
        except StoreError as error:
            raise ConfigurationError(f"RUSHES_ARCHIVE__URL cannot be used: {error}") from None

    def keep(self, file: str, path: str, content_type: str, *, within_s: float) -> None:
        """Upload the file, in parts if it is large; the name appears with the last part."""
        with _mapped_errors():
            if self._has(path):  # not every S3 service can refuse to replace
                raise NameTaken("another file has this name")
            obstore.put(
                self.objects,
                _within(path),
                _pieces(file, until=time.monotonic() + within_s),
                attributes={"Content-Type": content_type},
                chunk_size=PART_BYTES,
                max_concurrency=PARTS_AT_ONCE,
            )

    def _has(self, path: str) -> bool:
        try:
            obstore.head(self.objects, _within(path))
        except FileNotFoundError:
            return False
        return True

    def put(self, path: str, data: bytes, content_type: str) -> None:
        """Upload the data in one request."""
        with _mapped_errors():
            obstore.put(
                self.objects, _within(path), data, attributes={"Content-Type": content_type}, use_multipart=False
            )

    def remove(self, paths: Sequence[str]) -> None:
        """Delete the files one by one, because not every S3 service has the bulk request."""
        for path in paths:
            with _mapped_errors(), suppress(FileNotFoundError):
                obstore.delete(self.objects, _within(path))

    def beginning_with(self, start: str) -> Sequence[str]:
        """List from there on: a bucket's names come in order."""
        found = []
        with _mapped_errors():
            for chunk in obstore.list(self.objects, os.path.dirname(_within(start)), offset=start):
                names = [one["path"] for one in chunk]
                found += [name for name in names if name.startswith(start)]
                if any(name > start and not name.startswith(start) for name in names):
                    break
        return found

    def local(self, path: str) -> str | None:
        """Return None: a bucket is not on this machine."""
        _within(path)
        return None

    def signed_url(self, path: str, *, life_s: float) -> str | None:
        """Sign the URL with the store's credentials."""
        with _mapped_errors():
            return obstore.sign(self._bucket, "GET", _within(path), timedelta(seconds=life_s))


def _opened(url: str, client: Mapping[str, Any], retries: Mapping[str, Any]) -> Bucket:
    """Open the store of the URL's provider."""
    found: Bucket = cast("Any", from_url)(url, client_options=client, retry_config=retries)
    return found


def _within(path: str) -> str:
    if not is_within(path):
        raise StoreError("the path in the job's row leads out of the archive: somebody else wrote that row")
    return path


def _pieces(file: str, *, until: float) -> Iterator[bytes]:
    """Yield a file's bytes for an upload; after `until` it raises, which aborts the upload and removes its parts."""
    with open(file, "rb") as opened:
        while piece := opened.read(PART_BYTES):
            if time.monotonic() > until:
                raise TimeoutError("the upload took too long")
            yield piece


def _unlink(file: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(file)


def _rename_to_free_name(file: str, final: str) -> None:
    """Rename a file; unlike a rename, a hard link never replaces."""
    try:
        os.link(file, final)
    except FileExistsError:
        raise NameTaken("another file has this name") from None
    except OSError:  # a file system without hard links
        if os.path.exists(final):
            raise NameTaken("another file has this name") from None
        os.rename(file, final)
    else:
        os.unlink(file)


def _flush_folder(folder: str) -> None:
    """Flush the folder, so that its names survive a power cut."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


@contextmanager
def _mapped_errors() -> Iterator[None]:
    """Map every error of obstore and the disk to a StoreError."""
    try:
        yield
    except StoreError:
        raise
    except FileNotFoundError as error:
        raise NotThere(_message(error)) from None
    except (BaseError, OSError, ValueError, NotImplementedError) as error:
        raise StoreError(_message(error)) from None
    except BaseException as error:
        if type(error).__module__ != "pyo3_runtime":  # a panic in Rust, as for an invalid endpoint, is no Exception
            raise
        raise StoreError("the object store's client crashed: is its endpoint a URL?") from None


def _message(error: BaseException) -> str:
    """Return the error's first line up to a question mark, because a URL's query may contain a signature."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    first = str(error).partition("\n")[0].partition("?")[0].strip() or type(error).__name__
    return first[:_LONGEST_MESSAGE]
