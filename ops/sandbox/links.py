"""The URLs of finished videos: signed, dated, and good for a while."""

import hashlib
import hmac
import re
from dataclasses import dataclass

from ops.sandbox.generation import Generation
from ops.sandbox.settings import SandboxSettings
from ops.sandbox.studio import Studio, now_ms

ANIMALS = ("guepard", "tiger", "eagle", "flamingo", "kangaroo", "lion", "monkey", "octopus", "panda", "rabbit")
FILE_NAME = re.compile(r"(?P<issued_ms>\d{1,15})-(?P<number>[0-9a-f]{1,12})(?P<seal>[0-9a-f]{8})\.mp4")


class LinkExpiredError(Exception):
    """The URL was good once; the caller answers 403."""


class LinkUnknownError(Exception):
    """The URL was never given out; the caller answers 404."""


@dataclass(frozen=True, slots=True)
class Links:
    """Hands out URLs and recognises its own, also after a restart: all that matters is in the name."""

    settings: SandboxSettings
    studio: Studio

    @property
    def life_ms(self) -> float:
        """How long a URL is good for."""
        return 1000 * self.settings.url_life_s / self.settings.time_scale

    def url(self, generation: Generation, base: str) -> str:
        """The generation's URL: the last one while it is good, then a fresh one."""
        now = now_ms()
        if now >= generation.url_issued_ms + self.life_ms:
            generation.url_issued_ms = now
        issued_ms = generation.url_issued_ms
        animal = ANIMALS[generation.seed % len(ANIMALS)]
        return (
            f"{base}/cdn/generations/{animal}/{issued_ms}-{generation.number:x}{self.seal(generation, issued_ms)}.mp4"
        )

    def generation(self, name: str) -> Generation:
        """The generation behind a file name."""
        found = FILE_NAME.fullmatch(name)
        number = int(found["number"], 16) if found else -1
        if found is None or not 0 <= number < len(self.studio.generations):
            raise LinkUnknownError(name)
        generation = self.studio.generations[number]
        issued_ms = int(found["issued_ms"])
        if not hmac.compare_digest(found["seal"], self.seal(generation, issued_ms)):
            raise LinkUnknownError(name)
        if now_ms() >= issued_ms + self.life_ms:
            raise LinkExpiredError(name)
        return generation

    def seal(self, generation: Generation, issued_ms: int) -> str:
        """Eight digits that nobody guesses by accident."""
        told = f"{generation.id}/{issued_ms}".encode()
        return hashlib.blake2b(told, key=str(self.settings.seed).encode(), digest_size=4).hexdigest()
