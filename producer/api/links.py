"""Links to videos that need no key: signed, and ended after a while."""

import hashlib
import hmac
from dataclasses import dataclass
from posixpath import splitext
from typing import Final

from jobs.job import Stored

LIFE_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class Link:
    """A file's name, until when (epoch seconds) it may be had, and the proof that we said so."""

    file_name: str
    until: int
    signature: str

    @property
    def path(self) -> str:
        """The link's end."""
        return f"{self.file_name}?until={self.until}&signature={self.signature}"


@dataclass(frozen=True, slots=True)
class Links:
    """Makes and checks links, by a secret that all processes of the deployment share."""

    secret: bytes

    def made(self, job_id: str, stored: Stored, *, now: float) -> Link:
        """A fresh link to a job's video."""
        name = f"{job_id}{splitext(stored.path)[1]}"
        until = int(now) + LIFE_S
        return Link(name, until, self._signature(name, until))

    def fits(self, link: Link, *, now: float) -> bool:
        """Whether a link is ours, and has not ended."""
        ours = self._signature(link.file_name, link.until)
        return hmac.compare_digest(ours.encode(), link.signature.encode()) and now < link.until

    def _signature(self, name: str, until: int) -> str:
        return hmac.new(self.secret, f"{name} {until}".encode(), hashlib.sha256).hexdigest()
