"""The one back-off: how long to wait before the next try."""

from typing import Final

_MOST_DOUBLINGS: Final = 30
"""After this many doublings every wait exceeds its bound; more would only overflow."""


def backoff(first_s: float, longest_s: float, failures: int) -> float:
    """Return the seconds to wait: `first_s`, doubled for each earlier failure, at most `longest_s`."""
    return min(first_s * 2.0 ** min(failures, _MOST_DOUBLINGS), longest_s)
