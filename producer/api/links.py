"""Signed links to videos that need no key and expire."""

import hashlib
import hmac
from dataclasses import dataclass
from posixpath import splitext
from typing import Final

from jobs.job import Stored

LIFE_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class Link:
    """A file's name, the link's expiry (epoch seconds), and the signature of both."""

    file_name: str
    until: int
    signature: str

    @property
    def path(self) -> str:
        """The last part of the link's URL."""
        return f"{self.file_name}?until={self.until}&signature={self.signature}"


@dataclass(frozen=True, slots=True)
class Links:
    """Makes and verifies links with a secret that all processes of the deployment share."""

    secret: bytes

    def make(self, job_id: str, stored: Stored, *, now: float) -> Link:
        """Make a link to a job's video that is valid for a day."""
        name = f"{job_id}{splitext(stored.path)[1]}"
        until = int(now) + LIFE_S
        return Link(name, until, self._signature(name, until))

    def is_valid(self, link: Link, *, now: float) -> bool:
        """Whether the signature is right and the link has not expired."""
        ours = self._signature(link.file_name, link.until)
        return hmac.compare_digest(ours.encode(), link.signature.encode()) and now < link.until

    def _signature(self, name: str, until: int) -> str:
        return hmac.new(self.secret, f"{name} {until}".encode(), hashlib.sha256).hexdigest()
