"""W3C trace contexts: which trace a job belongs to, and the id of its own span there.

Ids derive from the job's row, so that every process computes the same ones and none are stored.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Self

SAMPLED: Final = 1
RANDOM: Final = 2
"""Flags of Trace Context Level 2: the caller recorded its span; its trace id is random."""

_FORM: Final = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A span's place: its trace's id (128 bits), its own id (64 bits), and W3C's flags."""

    trace_id: int
    span_id: int
    flags: int

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """Read a `traceparent`, of a newer version what version 00 has; None if it is malformed, as W3C says."""
        found = _FORM.fullmatch(text or "")
        if found is None or (found[1] == "00" and found[5]):
            return None
        known = 0xFF if found[1] == "00" else SAMPLED
        return cls(int(found[2], 16), int(found[3], 16), int(found[4], 16) & known)

    @property
    def is_sampled(self) -> bool:
        """Whether the span is recorded."""
        return bool(self.flags & SAMPLED)

    def __str__(self) -> str:
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{self.flags:02x}"


def traceparent_of(headers: Sequence[str]) -> str | None:
    """Return the `traceparent` among a request's headers of that name; None unless there is one, well-formed."""
    context = TraceContext.parse(headers[0]) if len(headers) == 1 else None
    return str(context) if context else None


def trace_id_of(job_id: str, parent: TraceContext | None) -> int:
    """Return the id of a job's trace: its caller's, or else one that derives from the job's id."""
    return parent.trace_id if parent else _hashed("trace", job_id, 16)


def span_id_of(job_id: str) -> int:
    """Return the id of a job's own span."""
    return _hashed("span", job_id, 8)


def _hashed(what: str, job_id: str, size: int) -> int:
    return int.from_bytes(sha256(f"rushes {what} {job_id}".encode()).digest()[:size]) or 1  # W3C forbids 0
