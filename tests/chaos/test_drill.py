"""A short drill with every kind of fault once keeps every invariant."""

import subprocess
import sys

import pytest

from tests.stage import ROOT


@pytest.mark.long
@pytest.mark.timeout(480)
def test_a_short_drill_breaks_no_invariant() -> None:
    """The drill runs as a separate process; its output says what it did and which promise broke."""
    ran = subprocess.run(
        [sys.executable, "-m", "ops.chaos.drill", "--minutes", "2", "--seed", "7", "--settle-s", "200"],
        capture_output=True,
        text=True,
        check=False,
        timeout=460,
        cwd=ROOT,
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.count("kept  ") == 9
