"""A process may hold as many files open as it can need, whatever somebody's shell began with."""

import resource
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from tests.stage import ROOT, Stage
from worker.runtime import files_needed

ASK = """
import resource
from config.open_files import allow
print(allow({0}), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def asked(count: int, *, soft: int, hard: int) -> list[int]:
    """The answer of `allow` in a process that began with these limits, and its limits afterwards."""
    begun = f"ulimit -Sn {soft} && ulimit -Hn {hard} && exec {shlex.quote(sys.executable)} -c '{ASK.format(count)}'"
    return list(map(int, subprocess.check_output(["sh", "-c", begun], cwd=ROOT, text=True).split()))


@pytest.mark.parametrize(
    ("count", "allowed"), [(2000, 2000), (9000, 4000), (100, 256)], ids=["raised", "as far as may be", "never lowered"]
)
def test_the_limit_is_raised_to_what_is_needed(count: int, allowed: int) -> None:
    """The soft limit rises up to the hard limit, which stays as it is."""
    assert asked(count, soft=256, hard=4000) == [allowed, allowed, 4000]


@contextmanager
def begun_with(soft: int) -> Iterator[None]:
    """Start children with this limit."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_worker_may_open_what_its_settings_can_need(stage: Stage) -> None:
    """This also works in a shell whose limit is very low."""
    threads = stage.settings.worker.threads
    with begun_with(256), stage.worker(threads=threads) as worker:
        allowed, _ = psutil.Process(worker.process.pid).rlimit(psutil.RLIMIT_NOFILE)
        assert allowed == min(files_needed(stage.settings), resource.getrlimit(resource.RLIMIT_NOFILE)[1])


def test_a_worker_that_may_not_says_so(stage: Stage) -> None:
    """Running out of files would look like an upstream that cannot be reached."""
    with stage.worker(app="tests.config.few_files") as worker:
        assert "this process may hold 300 files open and can need" in worker.said()
