"""The URLs of finished videos: signed, with an issue time and an expiry."""

import hashlib
import hmac
import re
from dataclasses import dataclass

from ops.sandbox.generation import Generation
from ops.sandbox.settings import SandboxSettings
from ops.sandbox.state import SandboxState, now_ms

ANIMALS = ("guepard", "tiger", "eagle", "flamingo", "kangaroo", "lion", "monkey", "octopus", "panda", "rabbit")
FILE_NAME = re.compile(r"(?P<issued_ms>\d{1,15})-(?P<number>[0-9a-f]{1,12})(?P<signature>[0-9a-f]{8})\.mp4")


class LinkExpiredError(Exception):
    """The URL has expired; the caller answers 403."""


class LinkUnknownError(Exception):
    """The URL was never issued; the caller answers 404."""


@dataclass(frozen=True, slots=True)
class Links:
    """Issues and verifies URLs, also after a restart, because the file name carries everything."""

    settings: SandboxSettings
    state: SandboxState

    @property
    def life_ms(self) -> float:
        """How long a URL is valid, in real milliseconds."""
        return 1000 * self.settings.url_life_s / self.settings.time_scale

    def url(self, generation: Generation, base: str) -> str:
        """Return the generation's URL: the last one while it is valid, then a new one."""
        now = now_ms()
        if now >= generation.url_issued_ms + self.life_ms:
            generation.url_issued_ms = now
        issued_ms = generation.url_issued_ms
        animal = ANIMALS[generation.seed % len(ANIMALS)]
        name = f"{issued_ms}-{generation.number:x}{self.signature(generation, issued_ms)}.mp4"
        return f"{base}/cdn/generations/{animal}/{name}"

    def generation(self, name: str) -> Generation:
        """Return the generation of a file name."""
        found = FILE_NAME.fullmatch(name)
        number = int(found["number"], 16) if found else -1
        if found is None or not 0 <= number < len(self.state.generations):
            raise LinkUnknownError(name)
        generation = self.state.generations[number]
        issued_ms = int(found["issued_ms"])
        if not hmac.compare_digest(found["signature"], self.signature(generation, issued_ms)):
            raise LinkUnknownError(name)
        if now_ms() >= issued_ms + self.life_ms:
            raise LinkExpiredError(name)
        return generation

    def signature(self, generation: Generation, issued_ms: int) -> str:
        """Sign a generation's id and issue time in eight hex digits."""
        signed = f"{generation.id}/{issued_ms}".encode()
        return hashlib.blake2b(signed, key=str(self.settings.seed).encode(), digest_size=4).hexdigest()
