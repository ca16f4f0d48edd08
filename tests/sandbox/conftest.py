"""Sandboxes for tests: a quick one that all share, emptied for each, and one's own where options matter."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.sandbox.harness import QUICK, Sandbox, running

Start = Callable[..., Sandbox]


@pytest.fixture(scope="session")
def quick_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One sandbox whose videos are done at once."""
    with running(tmp_path_factory.mktemp("quick"), *QUICK) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(quick_process: Sandbox) -> Sandbox:
    """The quick sandbox, with nothing in its books."""
    quick_process.post("/sandbox/reset")
    return quick_process


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start sandboxes with options of one's own; they end with the test."""
    with ExitStack() as stack:
        yield lambda *options: stack.enter_context(running(tmp_path, *options))
