"""Renders a page in headless Chromium, which can reach only this machine."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_FLAGS: Final = (
    "--headless",
    "--no-sandbox",  # root has none
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)
_SETTLES_WITHIN_MS: Final = 20_000
"""In the page's virtual time, which runs fast while nothing is loading."""

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (apt install chromium)")


@dataclass(frozen=True)
class Shown:
    """A rendered page: its elements, its console lines, and the URLs that it requested."""

    elements: str
    console: list[str]
    asked_for: list[str]


def shown(url: str, folder: Path) -> Shown:
    """Open a page and wait until it has settled."""
    log = folder / "net.json"
    command = [str(CHROMIUM), *_FLAGS, f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}"]
    command += [f"--virtual-time-budget={_SETTLES_WITHIN_MS}", "--dump-dom", url]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    console = [line for line in ran.stderr.splitlines() if ":CONSOLE" in line]
    return Shown(ran.stdout, console, list(_asked_for(json.loads(log.read_text())["events"])))


def _asked_for(events: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the URLs that the page requested, without the browser's own."""
    for event in events:
        request = event.get("params", {})
        if "url" in request and "://" in request.get("initiator", ""):
            yield request["url"]
