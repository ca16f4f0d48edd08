"""The scripts: Redis compiles each."""

from importlib import resources

import pytest
import redis

FOLDER = resources.files("jobs") / "lua"
NAMES = sorted(
    file.name for file in FOLDER.iterdir() if file.name not in {"prelude.lua", "admission.lua", "__init__.py"}
)


@pytest.mark.parametrize("name", NAMES)
def test_a_script_compiles(client: "redis.Redis", name: str) -> None:
    """A script that does not is an outage of whatever needs it."""
    assert client.script_load("".join((FOLDER / part).read_text() for part in ("prelude.lua", "admission.lua", name)))
