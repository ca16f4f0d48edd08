"""The wait doubles with each failure, up to its bound."""

import re

import pytest

from jobs.backoff import backoff
from tests.stage import ROOT


@pytest.mark.parametrize(("failures", "wait_s"), [(0, 2), (1, 4), (3, 16), (5, 60), (10**6, 60)])
def test_the_wait_doubles_up_to_its_bound(failures: int, wait_s: float) -> None:
    """However often it failed, the wait is a number, and never longer than what was chosen."""
    assert backoff(2, 60, failures) == wait_s


@pytest.mark.parametrize(
    ("suffix", "power", "home"),
    [("py", r"2(\.0)? ?\*\* ?[a-z(]", "jobs/backoff.py"), ("lua", r"2 ?\^", "jobs/lua/prelude.lua")],
)
def test_one_function_doubles(suffix: str, power: str, home: str) -> None:
    """In Python and in the scripts, every wait that grows grows by the same rule."""
    sources = [
        path for package in ("config", "jobs", "worker", "producer") for path in (ROOT / package).rglob(f"*.{suffix}")
    ]
    assert [str(path.relative_to(ROOT)) for path in sources if re.search(power, path.read_text())] == [home]
