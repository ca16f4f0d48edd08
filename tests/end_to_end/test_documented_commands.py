"""Every command in README and docs is run, each page in order, against one stack of `rushes up`.

A block of `console` (commands after `$`, and how what they print begins), `bash` or `python` is run. A block with
a file's name after its language is written there first. A comment before a block, `not run:` with the reason, leaves it
out.
"""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from ops.stack.recipe import free_port
from tests.ops.machines import Machine, Stack, addresses
from tests.stage import ROOT, eventually

PAGES: Final = [
    ROOT / "README.md",
    ROOT / "docs/tutorial.md",
    *(
        page
        for folder in ("how-to", "reference", "explanation")
        for page in sorted((ROOT / "docs" / folder).glob("*.md"))
    ),
]
RUN: Final = ("console", "bash", "python")
SHOWN: Final = ("", "csv", "json", "mermaid", "sql", "text")
"""Languages of blocks that are not commands."""

SPEED: Final = {
    "RUSHES_SANDBOX__RENDER": "shared",
}
ARGUED: Final = re.compile(r"<!-- not run: (.{10,}) -->")
BLOCK: Final = re.compile(r"^(<!-- [^\n]* -->\n)?```(\w*) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RECEIVER: Final = "9000"
"""The port of the webhook receiver on the pages."""

READERS: Final = 3
"""Pages that are read at once: most of the time is imports and waiting."""


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: Path
    line: int
    language: str
    file: str
    is_run: bool
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def commands(self) -> Iterator[tuple[str, list[str]]]:
        """Yield each command of a console block with the lines that it is said to print."""
        for command in re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]:
            typed, *printed = re.split(r"(?<!\\)\n", command.rstrip("\n"))
            yield typed, printed


def blocks_of(page: Path) -> Iterator[Block]:
    """Yield the page's fenced blocks."""
    text = page.read_text()
    for found in BLOCK.finditer(text):
        comment, language, file, content = found.groups()
        is_run = language in RUN and not file and not ARGUED.match(comment or "")
        yield Block(page, text.count("\n", 0, found.start(2)) + 1, language, file, is_run, content)


BLOCKS: Final = [block for page in PAGES for block in blocks_of(page)]


@dataclass
class Reader:
    """Somebody who reads one page and types what it says, in a folder of his own beside a running stack."""

    page: Path
    folder: Path
    environment: dict[str, str]
    ports: dict[str, str]

    def read(self) -> Iterator[str]:
        """Write the page's files, run its commands; yields what went otherwise than it says."""
        (self.folder / ".variables").touch()
        for block in BLOCKS:
            if block.page == self.page and block.file:
                (self.folder / block.file).write_text(self._here(block.text))
        for block in BLOCKS:
            if block.page == self.page and block.is_run:
                yield from self._run(block)

    def _run(self, block: Block) -> Iterator[str]:
        match block.language:
            case "console":
                for command, printed in block.commands():
                    yield from self._typed(block, command, printed)
            case "bash":
                yield from self._typed(block, block.text, [])
            case _:
                yield from self._answered(block, [sys.executable, "-c", self._here(block.text)], [])

    def _typed(self, block: Block, command: str, printed: list[str]) -> Iterator[str]:
        kept = "trap 'export -p > .variables' EXIT\nset -aeuo pipefail\n. ./.variables\n"
        yield from self._answered(block, ["bash", "-c", kept + self._here(command)], printed)
        if command.rstrip().endswith("&"):
            eventually(lambda: _listens(int(self.ports[RECEIVER])), what=f"the process of {block}")

    def _answered(self, block: Block, arguments: list[str], printed: list[str]) -> Iterator[str]:
        done = subprocess.run(
            arguments, env=self.environment, cwd=self.folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=120,
        )  # fmt: skip
        said = [_shape(line) for line in done.stdout.splitlines()]
        missing = [line for line in printed if not any(found.startswith(_shape(line)) for found in said)]
        if done.returncode or missing:
            yield f"{block}: exit code {done.returncode}, missing {missing}\n{arguments[-1]}\n{done.stdout}"

    def _here(self, text: str) -> str:
        """Replace the ports of the pages by those of this stack."""
        return re.sub(rf"\b({'|'.join(self.ports)})\b", lambda port: self.ports[port[0]], text)


def _shape(line: str) -> str:
    """Return what is the same in each run: words without ids, numbers and the width of columns, up to an ellipsis."""
    words = re.sub(r"(job|wh|rushes)_\w+", r"\1_", line.partition("…")[0])
    return re.sub(r"\d+", "0", " ".join(words.split()))


def _listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def test_every_block_is_run_shown_or_argued() -> None:
    """A page with another kind of fence would escape this module; so would a fence that is not closed."""
    fences = sum(len(re.findall(r"^```", page.read_text(), re.MULTILINE)) for page in PAGES)
    assert fences == 2 * len(BLOCKS)
    assert {block.language for block in BLOCKS} <= {*RUN, *SHOWN}
    for block in BLOCKS:
        if block.language == "python":
            compile(block.text, str(block), "exec")


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """Run `rushes up` with the hook of the pages; nothing that the pages start is left behind."""
    machine = Machine(tmp_path, variables={"RUSHES_HOOKS__CALL": "shop:video_is_ready", **SPEED})
    (hook,) = (block for block in BLOCKS if block.file == "shop.py")
    (tmp_path / hook.file).write_text(hook.text)
    with machine.up() as stack:
        try:
            yield stack
        finally:
            for process in machine.processes():
                if "receiver.py" in process.cmdline():
                    process.kill()
    eventually(machine.is_quiet, what="the end of every process")


@pytest.mark.long
@pytest.mark.timeout(600)  # some sixty processes, on a busy machine
def test_the_commands_of_the_documents_do_what_the_pages_say(stack: Stack) -> None:
    """A reader who types what a page says gets what it says."""
    machine, at = stack.machine, addresses(stack)
    sandbox = at["RUSHES_UPSTREAM__BASE_URL"].rpartition(":")[2]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = machine.environment() | {"PATH": path, "RUSHES_STATE_DIR": at["RUSHES_STATE_DIR"]}

    def read(page: Path) -> list[str]:
        folder = machine.folder / page.relative_to(ROOT).as_posix().replace("/", "-")
        folder.mkdir()
        ports = {"8000": at["RUSHES_API__PORT"], "8900": sandbox, RECEIVER: str(free_port())}
        return [*Reader(page, folder, environment, ports).read()]

    with ThreadPoolExecutor(READERS) as readers:
        wrong = [trouble for found in readers.map(read, PAGES) for trouble in found]
    assert not wrong, "\n\n".join(wrong)
