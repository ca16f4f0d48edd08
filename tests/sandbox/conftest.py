"""Sandboxes for tests: a shared quick one, reset for each test, and separate ones with other options."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.sandbox.harness import QUICK, Sandbox, running

Start = Callable[..., Sandbox]


@pytest.fixture(scope="session")
def quick_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Run a sandbox whose videos are done at once."""
    with running(tmp_path_factory.mktemp("quick"), *QUICK) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(quick_process: Sandbox) -> Sandbox:
    """Reset the quick sandbox."""
    quick_process.post("/sandbox/reset")
    return quick_process


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start sandboxes with other options; they end with the test."""
    with ExitStack() as stack:
        yield lambda *options: stack.enter_context(running(tmp_path, *options))
