"""Inputs: the parameters of a large request are a file of the archive, and Redis holds their short form and its name.

<root>/inputs/<random>      the parameters as JSON; the name cannot be guessed, as a bucket may be public
<root>/inputs/archive       the archive's own random name, by which producers and workers know that they share it
"""

import hashlib
import json
import logging
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

from config.settings import Settings
from config.store import INPUTS, NotThere, Store, StoreError, open_store
from jobs.errors import FieldError, InputNotKept, InputsFull, InvalidRequest, LedgerUnavailable
from jobs.inputs import InputIndex
from jobs.job import Input, Terms, VideoRequest
from jobs.ledger import new_job_id
from jobs.scripts import Scripts
from jobs.shorten import shorten

log = logging.getLogger("rushes.inputs")

LARGE_BYTES: Final = 16_384
"""Parameters from this size on are kept in the archive: a page of a hundred requests then stays small."""

SWEEP_EVERY_S: Final = 30.0
_NAME: Final = f"{INPUTS}/archive"
_OF_A_VALUE: Final = 16
_ELSEWHERE: Final = (
    f"may have {LARGE_BYTES} bytes here: more needs an archive that is shared with all workers, and one has another. "
    "Give pictures as https URLs"
)


class Inputs:
    """Keeps inputs in the archive, restores the requests that they belong to, and removes them."""

    def __init__(self, store: Store, index: InputIndex, *, most_bytes: int) -> None:
        """Keep at most `most_bytes` for each tenant."""
        self._store = store
        self._index = index
        self._most_bytes = most_bytes

    def keep(self, request: VideoRequest, terms: Terms, data: bytes | None) -> tuple[VideoRequest, Terms]:
        """Return what the ledger accepts: the request as it is, or its short form, once its input is in the archive.

        `data`: its serialized parameters.

        Raises:
            InvalidRequest: it is too large for a deployment whose workers have other archives.
            InputsFull: the tenant has no room for it.
            InputNotKept: the archive cannot be used.
            LedgerUnavailable: Redis could not be used.
        """
        if data is None or len(data) < LARGE_BYTES:
            return request, terms
        one = Input(token_hex(16), len(data), hashlib.sha256(data).hexdigest())
        terms = replace(terms, job_id=terms.job_id or new_job_id())
        try:
            self._keep(one, terms, data)
        except StoreError as error:
            raise InputNotKept(f"The archive cannot keep the request's pictures: {error}") from error
        return replace(request, parameters=shorten(request.parameters), input=one), terms

    def _keep(self, one: Input, terms: Terms, data: bytes) -> None:
        archive = self._named() if self._has_no_folder() else self._archive()
        try:
            answer = self._index.reserve(one, terms, most_bytes=self._most_bytes, archive=archive)
        except InputsFull as error:
            raise InputsFull(
                f"Pictures and long texts of your jobs are kept until each has its video: {error}"
            ) from None
        if answer == "elsewhere":
            raise InvalidRequest((FieldError("parameters", _ELSEWHERE),))
        if answer == "reserved":
            self._write(one, data)

    def _write(self, one: Input, data: bytes) -> None:
        try:
            self._store.put(_path(one.name), data, "application/json")
        except StoreError:
            with suppress(LedgerUnavailable):  # else the sweep gives its room back
                self._index.release(one.name)
            raise

    def whole(self, request: VideoRequest) -> VideoRequest:
        """Return the request as it was given.

        Raises:
            NotThere: its input is missing, or has changed.
            StoreError: the archive cannot be used now.
        """
        if request.input is None:
            return request
        data = b"".join(self._store.slices(_path(request.input.name)))
        if hashlib.sha256(data).hexdigest() != request.input.sha256:
            raise NotThere("its bytes are not those that were kept")
        return replace(request, parameters=json.loads(data), input=None)

    def is_shared(self) -> bool:
        """Whether the workers that were seen lately have this archive.

        Raises:
            StoreError: it cannot be read from here.
            LedgerUnavailable: Redis could not be used.
        """
        archives = self._index.archives()
        return not archives or archives == {self._read_name()}

    def discard(self, name: str) -> None:
        """Remove an input, and give its room back.

        Raises:
            StoreError: the archive cannot be used.
            LedgerUnavailable: Redis could not be used.
        """
        self._store.remove([_path(name)])
        self._index.release(name)

    def sweep(self) -> None:
        """Name this worker's archive, and remove the inputs that no job needs.

        Raises:
            StoreError: the archive cannot be used.
            LedgerUnavailable: Redis could not be used.
        """
        self._index.seen(self._archive())
        for name in self._index.unneeded():
            self.discard(name)

    def run(self, *, every_s: float = SWEEP_EVERY_S) -> None:
        """Sweep now and every few seconds, for ever."""
        pause, wait_s = threading.Event(), 0.0
        while not pause.wait(wait_s):
            wait_s = every_s
            try:
                self.sweep()
            except (StoreError, LedgerUnavailable) as error:
                log.warning("inputs are not swept: %s", error)
            except Exception:  # without this thread inputs pile up, and large requests are refused
                log.exception("sweeping inputs failed; the next round goes on")

    def _archive(self) -> str:
        """Return the archive's name, read anew: of two who gave it one at once, the later is right."""
        try:
            return self._read_name()
        except NotThere:
            return self._named()

    def _named(self) -> str:
        """Give the archive a name."""
        self._store.put(_NAME, token_hex(8).encode(), "text/plain")
        return self._read_name()

    def _read_name(self) -> str:
        return b"".join(self._store.slices(_NAME)).decode()

    def _has_no_folder(self) -> bool:
        """Whether nothing was ever put into the archive's folder; a worker makes it, and takes this for an outage."""
        return self._store.local(_NAME) is not None and not Path(self._store.root).exists()


def _path(name: str) -> str:
    return f"{INPUTS}/{name}"


def inputs_of(settings: Settings, scripts: Scripts) -> Inputs:
    """Open the inputs of a deployment, without a request to its archive."""
    return Inputs(open_store(settings), InputIndex(scripts), most_bytes=settings.queue.input_bytes)


def is_heavy(parameters: Mapping[str, Any]) -> bool:
    """Whether parameters may be large; it looks at a thousand values at most."""
    left: int = LARGE_BYTES
    unread: list[Any] = [parameters]
    while unread and left > 0:
        value = unread.pop()
        left -= len(value) if isinstance(value, str) else _OF_A_VALUE
        if isinstance(value, Mapping):
            unread.extend(value.values())
        elif isinstance(value, list | tuple):
            unread.extend(value)
    return left <= 0
