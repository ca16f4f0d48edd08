"""The wheel: what is not Python in it, or is read as a file, must be there too."""

import subprocess
import sys
import zipfile
from pathlib import Path

from tests.stage import ROOT


def test_the_wheel_carries_every_script_and_migration(tmp_path: Path) -> None:
    """An installed worker reads both from its own package."""
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, check=True, capture_output=True, cwd=ROOT)

    (wheel,) = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    wanted = [*ROOT.glob("jobs/lua/*.lua"), *ROOT.glob("worker/sql/migrations/**/*.py")]
    assert len(wanted) > 5
    assert {str(file.relative_to(ROOT)) for file in wanted} <= packed
