"""Parts of the tests of what runs around the product."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ops.machines import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A folder whose name has a blank and an apostrophe; at the end nothing may run in it any more."""
    folder = tmp_path / "it's a folder"
    folder.mkdir()
    made = Machine(folder)
    yield made
    left = {process: process.cmdline() for process in made.processes()}
    for process in left:
        process.kill()
    assert not left, f"processes were left behind: {list(left.values())}"
