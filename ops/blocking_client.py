"""Generates the blocking client from the asynchronous one: `python -m ops.blocking_client`.

`unasync` removes `async` and `await` and renames what has two names; ruff sorts and formats the rest.
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import unasync

ROOT: Final = Path(__file__).parents[1]
SOURCE: Final = ROOT / "producer/client/_async"
GENERATED: Final = ROOT / "producer/client/_sync"
NOTICE: Final = "# Generated from `_async` by `make format`: change it there.\n"

NAMES: Final = {
    "_async": "_sync",
    "AsyncConnection": "Connection",
    "AsyncEnds": "Ends",
    "AsyncJob": "Job",
    "AsyncPause": "Pause",
    "AsyncRushes": "Rushes",
    "AsyncClient": "Client",
    "AsyncHTTPTransport": "HTTPTransport",
    "aclose": "close",
    "aiter_lines": "iter_lines",
    "aiter_raw": "iter_raw",
    "aread": "read",
    "asyncio": "time",
}


def generated() -> dict[Path, str]:
    """Return each file of the blocking client with its text."""
    with TemporaryDirectory() as folder:
        rule = unasync.Rule(f"{SOURCE}/", f"{folder}/", NAMES)
        unasync.unasync_files([str(file) for file in SOURCE.glob("*.py")], [rule])
        tidy(folder)
        return {GENERATED / file.name: NOTICE + file.read_text() for file in Path(folder).glob("*.py")}


def tidy(folder: str) -> None:
    """Sort imports, drop superfluous parentheses and format, as elsewhere in the repository."""
    rules = ("--config", str(ROOT / "pyproject.toml"), "--config", "lint.isort.known-first-party=['producer']")
    for command in (("check", "--fix", "--select=I,UP034"), ("format",)):
        subprocess.run([sys.executable, "-m", "ruff", *command, "--quiet", *rules, folder], check=True)  # noqa: S603 (our own arguments)


def main(*arguments: str) -> None:
    """Write the blocking client; with `--check` only say whether it is up to date."""
    files = generated()
    present = {file: file.read_text() for file in GENERATED.glob("*.py")}
    if files == present:
        return
    if "--check" in arguments:
        sys.exit(f"{GENERATED.relative_to(ROOT)} does not follow {SOURCE.name}: run `make format`")
    for file in present.keys() - files.keys():
        file.unlink()
    for file, text in files.items():
        file.write_text(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
