"""The store: where the archive's files are, a folder or a bucket. Workers write it, producers read it, by one setting.

<root>/2026/11/22/job_….mp4     a name is there whole or not at all
<root>/.partial/                a folder's own workshop; no file of the archive

Names are plain strings: pathlib interns every part of each path, and a process names a few new files for each video.
A bucket's endpoint and credentials come from the usual variables (AWS_…, GOOGLE_…, AZURE_…), never from a setting.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
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
from config.settings import ArchiveSettings, ConfigurationError, Settings
from jobs.artifacts import is_within
from jobs.errors import RushesError

SLICE_BYTES: Final = 2_097_152
"""What is read at a time: a time-out then bounds a slice, not the whole of a large video on a slow line."""

PART_BYTES: Final = 5_242_880
"""The smallest part that S3 takes; two at a time are all that an upload holds in memory."""

PARTS_AT_ONCE: Final = 2
PARTIALS: Final = ".partial"
_LONGEST_TOLD: Final = 200

Bucket = S3Store | GCSStore | AzureStore


class StoreError(RushesError):
    """The store cannot be used now: try again later, or tell the operator. The message holds no secret."""


class NotThere(StoreError):
    """The store answers, and there is no such file."""


@dataclass(frozen=True, slots=True)
class Item:
    """One file of the archive; `path` is relative to its root, `modified_at` seconds since the epoch."""

    path: str
    size_bytes: int
    modified_at: float


class Store(Protocol):
    """A folder or a bucket. Everything raises StoreError for the disk, the network, and a path that leads out of it.

    Paths come from Redis: somebody who can write there must not read or remove any other file of this machine.
    """

    root: str

    def keep(self, file: str, path: str, content_type: str, *, within_s: float) -> None:
        """Give a whole local file its name in the store, replacing what had it. The file may be gone afterwards."""

    def put(self, path: str, data: bytes, content_type: str) -> None:
        """Write a small file, replacing what had its name."""

    def slices(self, path: str) -> Iterator[bytes]:
        """A file's bytes in bounded pieces."""

    def remove(self, paths: Sequence[str]) -> None:
        """Remove files; one that is gone is no error."""

    def items(self) -> Iterator[Item]:
        """Every file of the archive."""

    def local(self, path: str) -> str | None:
        """Where this machine's programs find the file, if it lies on a disk of theirs."""

    def signed_url(self, path: str, *, life_s: float) -> str | None:
        """A URL that serves the file without credentials for `life_s` seconds; None where there is no such thing."""

    def check(self) -> None:
        """Ask the store for its first file, to learn whether it answers at all."""


def open_store(settings: Settings) -> Store:
    """The store that the settings name; nothing is asked of it yet.

    Raises:
        ConfigurationError: its address or its surroundings cannot be used.
    """
    if settings.archive.url is None:
        return FolderStore(settings.archive_dir)
    return BucketStore(settings.archive.url, settings.archive)


class _Objects:
    """What folder and bucket do alike."""

    root: str
    objects: LocalStore | Bucket

    def slices(self, path: str) -> Iterator[bytes]:
        """Read it slice by slice."""
        with _asking():
            path = _within(path)
            size = obstore.head(self.objects, path)["size"]
            for start in range(0, size, SLICE_BYTES):
                yield bytes(obstore.get_range(self.objects, path, start=start, end=min(start + SLICE_BYTES, size)))

    def items(self) -> Iterator[Item]:
        """List all, without what is under way."""
        with _asking():
            for chunk in obstore.list(self.objects):
                for found in chunk:
                    if not found["path"].startswith(f"{PARTIALS}/"):
                        yield Item(found["path"], found["size"], found["last_modified"].timestamp())

    def check(self) -> None:
        """List the first."""
        with _asking():
            next(iter(obstore.list(self.objects, chunk_size=1)), None)


class FolderStore(_Objects):
    """A folder, this machine's or a mounted one; what is written is on disk before its name is."""

    def __init__(self, folder: Path) -> None:
        self.root = str(folder)

    @cached_property
    def objects(self) -> LocalStore:  # type: ignore[override]  # made when first asked: a producer may not see the folder
        """The folder through obstore."""
        return LocalStore(self.root)

    def keep(self, file: str, path: str, content_type: str, *, within_s: float) -> None:  # noqa: ARG002 (a rename knows neither)
        """Rename the file, which must lie on the same disk; readers of the archive's folder may read it."""
        with _asking():
            final = self.local(path)
            folder = os.path.dirname(final)
            make_folder(self.root)
            allowed = S_IMODE(os.stat(self.root).st_mode)
            make_folder(folder, allowed & 0o777)
            with suppress(PermissionError):  # some network file systems have modes of their own
                os.chmod(file, FILE_MODE | allowed & 0o044)
            os.replace(file, final)
            _flush_folder(folder)

    def put(self, path: str, data: bytes, content_type: str) -> None:
        """Write it beside, flush it, rename it."""
        partials = f"{self.root}/{PARTIALS}"
        partial = f"{partials}/{uuid4().hex}"
        with _asking():
            make_folder(partials)
            try:
                with open(partial, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                self.keep(partial, path, content_type, within_s=0)
            finally:
                _unlink(partial)

    def remove(self, paths: Sequence[str]) -> None:
        """Unlink them."""
        with _asking():
            for file in list(map(self.local, paths)):
                _unlink(file)

    def local(self, path: str) -> str:
        """In the folder."""
        return f"{self.root}/{_within(path)}"

    def signed_url(self, path: str, *, life_s: float) -> str | None:  # noqa: ARG002 (a folder serves nothing)
        """None: a folder serves nothing."""
        return None


class BucketStore(_Objects):
    """An object store: s3://, gs:// or az://. A name appears when its upload is complete."""

    def __init__(self, url: str, settings: ArchiveSettings) -> None:
        self.root = url.rstrip("/")
        retries = {"max_retries": 3, "retry_timeout": timedelta(seconds=settings.total_timeout_s)}
        client = {
            "timeout": timedelta(seconds=settings.read_timeout_s),  # of one part or slice
            "connect_timeout": timedelta(seconds=settings.connect_timeout_s),
            "allow_http": True,  # an endpoint says by its own scheme whether it is meant to be plain
        }
        try:
            with _asking():
                self.objects = self._bucket = _opened(self.root, client, retries)
        except StoreError as error:
            raise ConfigurationError(f"RUSHES_ARCHIVE__URL cannot be used: {error}") from None

    def keep(self, file: str, path: str, content_type: str, *, within_s: float) -> None:
        """Upload it, in parts if it is large; the name appears with the last of them."""
        with _asking():
            obstore.put(
                self.objects,
                _within(path),
                _pieces(file, until=time.monotonic() + within_s),
                attributes={"Content-Type": content_type},
                chunk_size=PART_BYTES,
                max_concurrency=PARTS_AT_ONCE,
            )

    def put(self, path: str, data: bytes, content_type: str) -> None:
        """Upload it in one request."""
        with _asking():
            obstore.put(
                self.objects, _within(path), data, attributes={"Content-Type": content_type}, use_multipart=False
            )

    def remove(self, paths: Sequence[str]) -> None:
        """Delete them one by one: not every service that speaks S3 knows the bulk request."""
        for path in paths:
            with _asking(), suppress(FileNotFoundError):
                obstore.delete(self.objects, _within(path))

    def local(self, path: str) -> str | None:  # noqa: ARG002 (a bucket is nowhere on this machine)
        """None: a bucket is on no disk of ours."""
        return None

    def signed_url(self, path: str, *, life_s: float) -> str | None:
        """Sign it with the store's credentials."""
        with _asking():
            return obstore.sign(self._bucket, "GET", _within(path), timedelta(seconds=life_s))


def _opened(url: str, client: Mapping[str, Any], retries: Mapping[str, Any]) -> Bucket:
    """The store of the provider that the URL names."""
    found: Bucket = cast("Any", from_url)(url, client_options=client, retry_config=retries)
    return found


def _within(path: str) -> str:
    if not is_within(path):
        raise StoreError("the path in the job's row leads out of the archive: somebody else wrote that row")
    return path


def _pieces(file: str, *, until: float) -> Iterator[bytes]:
    """A file's bytes for an upload; running out of time breaks the upload off, and its parts are removed."""
    with open(file, "rb") as opened:
        while piece := opened.read(PART_BYTES):
            if time.monotonic() > until:
                raise TimeoutError("the upload took too long")
            yield piece


def _unlink(file: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(file)


def _flush_folder(folder: str) -> None:
    """Make the names in it outlive a power cut."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


@contextmanager
def _asking() -> Iterator[None]:
    """Map what obstore and the disk raise, once and in full."""
    try:
        yield
    except StoreError:
        raise
    except FileNotFoundError as error:
        raise NotThere(_told(error)) from None
    except (BaseError, OSError, ValueError, NotImplementedError) as error:
        raise StoreError(_told(error)) from None
    except BaseException as error:
        if type(error).__module__ != "pyo3_runtime":  # Rust's panics, for an endpoint that is no URL, are no Exception
            raise
        raise StoreError("the object store's client broke down: is its endpoint a URL?") from None


def _told(error: BaseException) -> str:
    """The first line, without what follows a question mark: a URL's query may hold a signature."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    first = str(error).partition("\n")[0].partition("?")[0].strip() or type(error).__name__
    return first[:_LONGEST_TOLD]
