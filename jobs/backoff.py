"""The one back-off: how long to wait before the next try."""

from typing import Final

_MOST_DOUBLINGS: Final = 30
"""Doubled so often, any wait is past every bound; more would only overflow."""


def backoff(first_s: float, longest_s: float, failures: int) -> float:
    """Seconds to wait: `first_s`, doubled for each of the earlier `failures`, at most `longest_s`."""
    return min(first_s * 2.0 ** min(failures, _MOST_DOUBLINGS), longest_s)
