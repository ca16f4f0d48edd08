"""A download's file: written beside its name, checked, and then named; a broken one goes on where it was."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from producer.client.errors import Damaged

ATTEMPTS: Final = 5
CHUNK_BYTES: Final = 262_144


class Partial:
    """A file on its way to its name."""

    def __init__(self, final: Path) -> None:
        self._final = final
        self._path = final.with_name(f"{final.name}.part")
        self._path.unlink(missing_ok=True)
        self._tag: str | None = None

    def headers(self) -> dict[str, str]:
        """How to ask for what is missing."""
        have = self._path.stat().st_size if self._path.exists() else 0
        return {"range": f"bytes={have}-", "if-range": self._tag} if have and self._tag else {}

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """An answer begins: with the rest, or with all of it."""
        self._tag = headers.get("etag")
        if status != 206:  # noqa: PLR2004 (Partial Content)
            self._path.write_bytes(b"")

    def add(self, data: bytes) -> None:
        """More of it."""
        with self._path.open("ab") as file:
            file.write(data)

    def finish(self) -> Path:
        """Give it its name, if it is what is stored.

        Raises:
            Damaged: its checksum is another one; nothing has the name.
        """
        with self._path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        told = (self._tag or "").strip('"')
        if told != found:
            self._path.unlink()
            raise Damaged(f"{self._final.name}: the bytes have the checksum {found}, the API told {told or 'none'}")
        return self._path.replace(self._final)
