"""The spool: receipts kept on this host's disk while they cannot be written to the ledger.

    <state>/spool/<request id>.json     one receipt, whole and fsynced; removed once the ledger has it

Any worker process of this host replays them, even after a crash of their writer.
"""

import errno
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from config.private import make_folder
from jobs.artifacts import is_name
from jobs.facts import Accepted, NotBought, Receipt, Rejected, Unknown
from jobs.job import Hold

log = logging.getLogger("rushes.spool")

_KINDS: Final[dict[str, type[Accepted | NotBought | Rejected | Unknown]]] = {
    kind.__name__: kind for kind in (Accepted, NotBought, Rejected, Unknown)
}


@dataclass(frozen=True, slots=True)
class Spooled:
    """A receipt and its purchase."""

    job_id: str
    request_id: str
    receipt: Receipt
    file: Path | None = None


class Spool:
    """A folder of receipts on their way to the ledger."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        make_folder(folder)

    def keep(self, spooled: Spooled) -> None:
        """Write and fsync a receipt to disk.

        Raises:
            OSError: the disk refuses the write, or the id is no file name; the receipt is then only in the log.
        """
        name = spooled.request_id
        if not is_name(name):
            raise OSError(errno.EINVAL, "the request id is no file name")
        record = {
            "job_id": spooled.job_id,
            "request_id": spooled.request_id,
            "kind": type(spooled.receipt).__name__,
            "receipt": asdict(spooled.receipt),
        }
        final = self._folder / f"{name}.json"
        partial = final.with_suffix(f".{os.getpid()}.part")
        with partial.open("w", encoding="utf-8") as file:
            json.dump(record, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(final)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def kept(self) -> Iterator[Spooled]:
        """Yield every spooled receipt; log an unreadable file and leave it for a person."""
        for file in sorted(self._folder.glob("*.json")):
            try:
                yield _read(file)
            except FileNotFoundError:
                continue  # another process has replayed it
            except (OSError, ValueError, KeyError, TypeError) as error:
                log.critical("spooled receipt cannot be read file=%s error=%s", file, error)

    def forget(self, spooled: Spooled) -> None:
        """Remove a receipt that the ledger has."""
        if spooled.file is not None:
            spooled.file.unlink(missing_ok=True)


def _read(file: Path) -> Spooled:
    record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    fields = dict(record["receipt"])
    if "hold" in fields:
        fields["hold"] = Hold(fields["hold"])
    receipt = _KINDS[record["kind"]](**fields)
    return Spooled(record["job_id"], record["request_id"], receipt, file)
