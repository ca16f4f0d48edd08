"""The wait doubles with each failure, up to its bound."""

import re

import pytest

from jobs.backoff import backoff
from tests.stage import ROOT


@pytest.mark.parametrize(("failures", "wait_s"), [(0, 2), (1, 4), (3, 16), (5, 60), (10**6, 60)])
def test_the_wait_doubles_up_to_its_bound(failures: int, wait_s: float) -> None:
    """However often it failed, the wait is a number, and never longer than what was chosen."""
    assert backoff(2, 60, failures) == wait_s


def test_one_function_doubles_in_the_scripts() -> None:
    """Each wait that grows grows by the same rule."""
    sources = [path for path in (ROOT / "jobs" / "lua").glob("*.lua") if re.search(r"2 ?\^", path.read_text())]
    assert [path.name for path in sources] == ["prelude.lua"]
