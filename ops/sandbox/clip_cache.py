"""The cache of rendered clips on disk: renders ahead, evicts the oldest."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from ops.sandbox.generation import Generation
from ops.sandbox.render_pool import URGENT, RenderPool
from ops.sandbox.scene import Scene
from ops.sandbox.settings import SandboxSettings
from ops.sandbox.state import now_ms

LEAD_MS = 30_000  # render ahead this long before completion; enough for 30 clips per core


@dataclass(frozen=True, slots=True)
class Clip:
    """A rendered mp4."""

    path: Path
    size_bytes: int
    in_memory: bytes | None = None

    def beginning(self, count: int) -> bytes:
        """Read its first `count` bytes."""
        with self.path.open("rb") as film:
            return film.read(count)


@dataclass(slots=True)
class ClipCache:
    """Renders clips shortly before they are needed and keeps the newest, up to `clip_cache_bytes`."""

    settings: SandboxSettings
    folder: Path
    render_pool: RenderPool
    kept: dict[str, Clip] = field(default_factory=dict)
    kept_bytes: int = 0

    def __post_init__(self) -> None:
        """Add the clips of earlier runs, oldest first."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(self.folder.glob("*.mp4"), key=lambda path: path.stat().st_mtime):
            self.keep(Clip(path, path.stat().st_size))

    def scene(self, generation: Generation) -> Scene:
        """Return the scene that a generation's clip shows."""
        return Scene.shared(generation) if self.settings.render == "shared" else Scene.of(generation)

    def name(self, generation: Generation) -> str:
        """Return the file name of a generation's clip."""
        if self.settings.render == "shared":
            return shared_name(generation.shape.aspect_ratio, generation.shape.resolution, self.scene(generation))
        return f"{self.scene(generation).key}.mp4"

    def prepare(self, generation: Generation) -> None:
        """Render ahead if the generation is nearly done, so that no download waits."""
        near = generation.outcome is None and generation.ready_ms - now_ms() < LEAD_MS
        if near and (name := self.name(generation)) not in self.kept:
            self.render_pool.render(self.scene(generation), self.folder / name, due_ms=generation.ready_ms)

    def size_bytes(self, generation: Generation) -> int | None:
        """Return the clip's size if it is rendered, else start rendering it."""
        clip = self.kept.get(self.name(generation)) or self.found(generation)
        if clip is None:
            self.prepare(generation)
        return clip.size_bytes if clip else None

    def found(self, generation: Generation) -> Clip | None:
        """Return the clip if it is on disk by now."""
        path = self.folder / self.name(generation)
        if path in self.render_pool.pending or not path.exists():
            return None
        return self.keep(self.loaded(path))

    async def fetch(self, generation: Generation) -> Clip:
        """Return the clip; render it first if it is not on disk."""
        name = self.name(generation)
        clip = self.kept.get(name)
        if clip is not None and (clip.in_memory is not None or clip.path.exists()):
            return clip
        path = self.folder / name
        if path in self.render_pool.pending or not path.exists():
            await asyncio.shield(self.render_pool.render(self.scene(generation), path, due_ms=URGENT))
        return self.keep(self.loaded(path))

    def loaded(self, path: Path) -> Clip:
        """Load a clip from disk; shared clips are small and few, so they are kept in memory."""
        body = path.read_bytes() if self.settings.render == "shared" else None
        return Clip(path, path.stat().st_size, body)

    def keep(self, clip: Clip) -> Clip:
        """Add a clip, and evict the oldest that no longer fit."""
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
    """Return the file name of a shape's shared clip; cached because the key is a hash."""
    return f"{scene.key}.mp4"
