"""The ports of a stack, kept over restarts, so that links and clients stay valid."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ops.stack.recipe import free_port, is_free, write_private

FILE: Final = "ports.json"
FREED_WITHIN_S: Final = 3.0
"""A killed stack may keep its ports for a moment after the next has started."""


class SavedPorts:
    """Chooses ports and saves them in the state folder."""

    def __init__(self, folder: Path, *, on_note: Callable[[str], None]) -> None:
        """Read the saved ports; `on_note` is called when a port could not be kept."""
        self._file = folder / FILE
        self._on_note = on_note
        self._saved = _read(self._file)
        self._chosen: dict[str, int] = {}

    def choose(self, part: str, *, wanted: int | None = None, usual: int | None = None) -> int:
        """Return the first free port of: the wanted, the saved, the usual, any."""
        saved = self._saved.get(part)
        port = next((port for port in (wanted, saved, usual) if port and self._is_ours(port, port == saved)), None)
        self._chosen[part] = port = port or free_port()
        kept = wanted or saved
        if kept and port != kept:
            self._on_note(f"port {kept} of {part} is in use by another program; it listens on {port} now")
        return port

    def save(self) -> None:
        """Save the chosen ports."""
        write_private(self._file, json.dumps(self._saved | self._chosen))

    def _is_ours(self, port: int, wait: bool) -> bool:
        give_up_at = time.monotonic() + (FREED_WITHIN_S if wait else 0)
        while not is_free(port):
            if time.monotonic() >= give_up_at:
                return False
            time.sleep(0.1)
        return port not in self._chosen.values()


def _read(file: Path) -> dict[str, int]:
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {str(part): port for part, port in found.items() if type(port) is int and 0 < port < 65536}  # noqa: PLR2004 (the largest port)
