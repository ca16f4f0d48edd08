"""The three steps of a job for blocking contenders, with one requests session per thread."""

import threading
from pathlib import Path
from typing import Final

import requests

from ops.bench.contender import RunConfig

CONFIG: Final = RunConfig.from_environment()
TIMEOUT_S: Final = (5, 30)
_of_thread = threading.local()


def buy(prompt: str) -> str:
    """Submit; returns the generation's id."""
    reply = _session().post(
        f"{CONFIG.upstream_url}/v2/video/generations",
        json={"model": "google/veo3", "prompt": prompt},
        timeout=TIMEOUT_S,
    )
    reply.raise_for_status()
    return str(reply.json()["id"])


def poll(generation_id: str) -> str | None:
    """Return the video's URL, or None while it renders."""
    reply = _session().get(
        f"{CONFIG.upstream_url}/v2/video/generations", params={"generation_id": generation_id}, timeout=TIMEOUT_S
    )
    reply.raise_for_status()
    seen = reply.json()
    return str(seen["video"]["url"]) if seen["status"] == "completed" else None


def store(generation_id: str, url: str) -> None:
    """Download the video into the folder."""
    reply = _session().get(url, timeout=TIMEOUT_S)
    reply.raise_for_status()
    (_videos() / f"{generation_id}.mp4").write_bytes(reply.content)


def _videos() -> Path:
    folder = CONFIG.folder / "videos"
    folder.mkdir(exist_ok=True)
    return folder


def _session() -> requests.Session:
    if not hasattr(_of_thread, "session"):
        _of_thread.session = requests.Session()
        _of_thread.session.headers["Authorization"] = "Bearer bench-key"
    session: requests.Session = _of_thread.session
    return session
