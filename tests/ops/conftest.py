"""Fixtures for the tests of ops."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ops.machines import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """Make a folder with a blank and an apostrophe in its name; no process may be left in it."""
    folder = tmp_path / "it's a folder"
    folder.mkdir()
    made = Machine(folder)
    yield made
    left = {process: process.cmdline() for process in made.processes()}
    for process in left:
        process.kill()
    assert not left, f"processes were left behind: {list(left.values())}"
