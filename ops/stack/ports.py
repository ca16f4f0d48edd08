"""The ports of a stack: the same after a restart, so that links and clients go on."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ops.stack.recipe import free_port, is_free, write_private

FILE: Final = "ports.json"
FREED_WITHIN_S: Final = 3.0
"""A stack that was killed may hold its ports for a moment after the next has begun."""


class PortBook:
    """Chooses ports and remembers them in the state folder."""

    def __init__(self, folder: Path, *, on_note: Callable[[str], None]) -> None:
        """Read what was remembered; `on_note` is told when a port could not be kept."""
        self._file = folder / FILE
        self._on_note = on_note
        self._known = _read(self._file)
        self._chosen: dict[str, int] = {}

    def choose(self, part: str, *, wanted: int | None = None, usual: int | None = None) -> int:
        """The port the user wants, else the remembered one, else the usual one, else any: the first that is free."""
        known = self._known.get(part)
        port = next((port for port in (wanted, known, usual) if port and self._is_ours(port, port == known)), None)
        self._chosen[part] = port = port or free_port()
        kept = wanted or known
        if kept and port != kept:
            self._on_note(f"port {kept} of {part} is taken by another program; it listens on {port} now")
        return port

    def keep(self) -> None:
        """Remember what was chosen."""
        write_private(self._file, json.dumps(self._known | self._chosen))

    def _is_ours(self, port: int, patiently: bool) -> bool:
        give_up_at = time.monotonic() + (FREED_WITHIN_S if patiently else 0)
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
