"""Writes a download to a partial file, verifies it and renames it; a broken download resumes where it was."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from producer.client.errors import Damaged

ATTEMPTS: Final = 5
CHUNK_BYTES: Final = 262_144


class PartialDownload:
    """A partial file beside the final one."""

    def __init__(self, final: Path) -> None:
        self._final = final
        self._path = final.with_name(f"{final.name}.part")
        self._path.unlink(missing_ok=True)
        self._tag: str | None = None

    def headers(self) -> dict[str, str]:
        """Return the headers that request the missing rest."""
        have = self._path.stat().st_size if self._path.exists() else 0
        return {"range": f"bytes={have}-", "if-range": self._tag} if have and self._tag else {}

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Start on a reply: 206 brings the rest, any other status the whole file."""
        self._tag = headers.get("etag")
        if status != 206:  # noqa: PLR2004 (Partial Content)
            self._path.write_bytes(b"")

    def add(self, data: bytes) -> None:
        """Append data."""
        with self._path.open("ab") as file:
            file.write(data)

    def finish(self) -> Path:
        """Verify the checksum and rename the file.

        Raises:
            Damaged: the checksum is wrong; the partial file is removed.
        """
        with self._path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        expected = (self._tag or "").strip('"')
        if expected != found:
            self._path.unlink()
            raise Damaged(f"{self._final.name}: the checksum is {found}, the API's is {expected or 'missing'}")
        return self._path.replace(self._final)
