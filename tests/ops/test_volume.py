"""The volume benchmark with few jobs: everything arrives, or it says what did not."""

import subprocess
import sys

import pytest

from tests.stage import ROOT


@pytest.mark.long
@pytest.mark.timeout(180)
def test_every_finished_job_is_in_the_archive_in_the_database_and_with_the_receiver() -> None:
    """It makes both runs and prints their figures."""
    command = [sys.executable, "-m", "ops.bench.volume", "--jobs", "12"]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "ms worker CPU per video" in ran.stdout
    assert "requests for 12 events" in ran.stdout
