"""The clips on disk: which are there, which are rendered next, which have to go."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from ops.sandbox.generation import Generation
from ops.sandbox.render_pool import AWAITED, RenderPool
from ops.sandbox.scene import Scene
from ops.sandbox.settings import SandboxSettings
from ops.sandbox.studio import now_ms

LEAD_MS = 30_000  # a poll this near to completion has the clip rendered ahead: room for a crowd of thirty a core


@dataclass(frozen=True, slots=True)
class Clip:
    """A rendered mp4."""

    path: Path
    size_bytes: int
    in_memory: bytes | None = None

    def beginning(self, count: int) -> bytes:
        """Its first bytes."""
        with self.path.open("rb") as film:
            return film.read(count)


@dataclass(slots=True)
class Clips:
    """Renders clips when they are about to be wanted and keeps them, within bounds."""

    settings: SandboxSettings
    folder: Path
    render_pool: RenderPool
    kept: dict[str, Clip] = field(default_factory=dict)
    kept_bytes: int = 0

    def __post_init__(self) -> None:
        """Take stock of what an earlier run has left."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(self.folder.glob("*.mp4"), key=lambda path: path.stat().st_mtime):
            self.keep(Clip(path, path.stat().st_size))

    def scene(self, generation: Generation) -> Scene:
        """What a generation's clip shows."""
        return Scene.shared(generation) if self.settings.render == "shared" else Scene.of(generation)

    def name(self, generation: Generation) -> str:
        """The file name of a generation's clip."""
        if self.settings.render == "shared":
            return shared_name(generation.shape.aspect_ratio, generation.shape.resolution, self.scene(generation))
        return f"{self.scene(generation).key}.mp4"

    def prepare(self, generation: Generation) -> None:
        """Render ahead, if the generation is nearly done: then nobody waits for the picture."""
        near = generation.fate is None and generation.ready_ms - now_ms() < LEAD_MS
        if near and (name := self.name(generation)) not in self.kept:
            self.render_pool.develop(self.scene(generation), self.folder / name, due_ms=generation.ready_ms)

    def size_bytes(self, generation: Generation) -> int | None:
        """How large the clip is, if it is rendered already; if not, that is seen to."""
        clip = self.kept.get(self.name(generation)) or self.found(generation)
        if clip is None:
            self.prepare(generation)
        return clip.size_bytes if clip else None

    def found(self, generation: Generation) -> Clip | None:
        """The clip, if it has been rendered since."""
        path = self.folder / self.name(generation)
        if path in self.render_pool.awaited or not path.exists():
            return None
        return self.keep(self.loaded(path))

    async def fetch(self, generation: Generation) -> Clip:
        """The clip, rendered now if it must be."""
        name = self.name(generation)
        clip = self.kept.get(name)
        if clip is not None and (clip.in_memory is not None or clip.path.exists()):
            return clip
        path = self.folder / name
        if path in self.render_pool.awaited or not path.exists():
            await asyncio.shield(self.render_pool.develop(self.scene(generation), path, due_ms=AWAITED))
        return self.keep(self.loaded(path))

    def loaded(self, path: Path) -> Clip:
        """A clip on disk; shared ones are small and few, and are held in memory."""
        body = path.read_bytes() if self.settings.render == "shared" else None
        return Clip(path, path.stat().st_size, body)

    def keep(self, clip: Clip) -> Clip:
        """Remember a clip, and let the oldest go that no longer fit."""
        before = self.kept.pop(clip.path.name, None)
        self.kept_bytes += clip.size_bytes - (before.size_bytes if before else 0)
        self.kept[clip.path.name] = clip
        while self.kept_bytes > self.settings.clip_cache_bytes and len(self.kept) > 1:
            oldest = self.kept.pop(next(iter(self.kept)))
            self.kept_bytes -= oldest.size_bytes
            with suppress(FileNotFoundError):
                oldest.path.unlink()
        return clip


@lru_cache(maxsize=1024)
def shared_name(_aspect_ratio: str, _resolution: str, scene: Scene) -> str:
    """The file name of a shape's clip, worked out once."""
    return f"{scene.key}.mp4"
