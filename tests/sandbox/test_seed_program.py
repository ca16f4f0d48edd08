"""The upstream documentation's program runs against the sandbox to the end."""

import re
import subprocess
import sys
from pathlib import Path

from tests.sandbox.harness import KEY, Sandbox

PROGRAM = Path(__file__).with_name("seed_program.py.txt")


def test_the_seed_program_gets_its_video(sandbox: Sandbox, tmp_path: Path) -> None:
    """Only its address and its key are replaced."""
    program = PROGRAM.read_text()
    adapted = program.replace("https://api.aimlapi.com/v2", f"{sandbox.url}/v2").replace(
        '"<YOUR_AIMLAPI_KEY>"', f'"{KEY}"'
    )
    changed = [old for old, new in zip(program.splitlines(), adapted.splitlines(), strict=True) if old != new]
    assert [line.split(" = ")[0] for line in changed] == ["base_url", "aimlapi_key"]
    script = tmp_path / "seed_program.py"
    script.write_text(adapted)

    ran = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)

    assert (ran.returncode, ran.stderr) == (0, "")
    assert "Status: completed" in ran.stdout
    assert "Processing complete:" in ran.stdout
    found = re.search(r"http://[^']+\.mp4", ran.stdout)
    assert found
    assert sandbox.download(found[0]).headers["content-type"] == "video/mp4"
    assert sandbox.purchases()["total"] == 1
