"""How long a request's body may take on its way out: an uplink is often much slower than a connection is made."""

from typing import Final

_FIRST_S: Final = 10.0
SLOWEST_BYTES_PER_S: Final = 65_536
"""Half a megabit a second: the slowest uplink on which a request still arrives whole."""


def sending_s(size_bytes: int) -> float:
    """Return the longest time for sending a body of this size, in seconds."""
    return _FIRST_S + size_bytes / SLOWEST_BYTES_PER_S
