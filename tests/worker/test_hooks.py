"""Result hooks: strangers' code, told at least once, each on its own."""

import asyncio
import logging
import sys
from pathlib import Path
from typing import Final

import pytest

from config.settings import ConfigurationError
from jobs.job import Charged
from jobs.result import JobResult
from jobs.states import Status
from worker.hooks import Hook, Round, load_hooks, tell

RESULT: Final = JobResult(
    id="job_1", status=Status.COMPLETED, model="google/veo3", prompt="p", charged=Charged.YES, accepted_at=1.0, looks=3
)


class Diary:
    """Hooks that note who was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def hook(self, name: str, error: BaseException | None = None) -> Hook:
        """One that notes its name, then raises if it is to."""

        def listen(result: JobResult) -> None:
            self.told.append((name, result.id))
            if error is not None:
                raise error

        return listen


def test_every_hook_is_told_in_the_order_of_the_settings() -> None:
    """Whoever archives before it bills relies on the order."""
    diary = Diary()
    hooks = {name: diary.hook(name) for name in ("c", "a", "b")}
    assert tell(hooks, RESULT, ()) == Round(("c", "a", "b"), {})
    assert diary.told == [("c", "job_1"), ("a", "job_1"), ("b", "job_1")]


def test_without_hooks_nobody_is_told() -> None:
    """The usual deployment."""
    assert tell({}, RESULT, ()) == Round((), {})


@pytest.mark.parametrize(
    ("error", "told"),
    [
        pytest.param(ValueError("no disk"), "ValueError: no disk", id="ValueError"),
        pytest.param(KeyError("x"), "KeyError: 'x'", id="KeyError"),
        pytest.param(SystemExit(3), "SystemExit: 3", id="sys.exit"),
        pytest.param(asyncio.CancelledError(), "CancelledError: ", id="cancelled asyncio"),
        pytest.param(RuntimeError("x" * 999), "RuntimeError: " + "x" * 286, id="long-winded"),
    ],
)
def test_a_raising_hook_hinders_no_other(error: BaseException, told: str, caplog: pytest.LogCaptureFixture) -> None:
    """One team's broken hook must not keep a result from another team."""
    diary = Diary()
    hooks = {"first": diary.hook("first"), "broken": diary.hook("broken", error), "last": diary.hook("last")}

    with caplog.at_level(logging.WARNING, "rushes.hooks"):
        told_round = tell(hooks, RESULT, ())

    assert told_round == Round(("first", "last"), {"broken": told})
    [record] = caplog.records
    assert (record.getMessage(), record.exc_info and record.exc_info[1]) == (
        "hook raised job=job_1 hook=broken",
        error,
    )


def test_ctrl_c_in_a_hook_is_no_hooks_failure() -> None:
    """The operator's wish goes before the round; it is repeated after the restart."""
    with pytest.raises(KeyboardInterrupt):
        tell({"a": Diary().hook("a", KeyboardInterrupt())}, RESULT, ())


def test_whoever_was_told_is_not_told_again() -> None:
    """The next round is for those who raised; what was told is remembered in the order of telling."""
    diary = Diary()
    hooks = {name: diary.hook(name) for name in ("a", "b", "c")}
    assert tell(hooks, RESULT, ("b",)) == Round(("b", "a", "c"), {})
    assert diary.told == [("a", "job_1"), ("c", "job_1")]
    assert tell(hooks, RESULT, ("b", "a", "c")) == Round(("b", "a", "c"), {})


def test_whoever_was_told_and_is_a_hook_no_more_stays_told() -> None:
    """A deployment that drops a hook and takes it back does not hear everything twice."""
    assert tell({}, RESULT, ("gone",)) == Round(("gone",), {})


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of somebody's, to be filled by the test."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "stranger", raising=False)
    return tmp_path / "stranger.py"


def test_hooks_are_loaded_by_their_import_path(stranger: Path) -> None:
    """The path is the hook's name from then on."""
    stranger.write_text("def one(result): ...\nclass Two:\n    def __init__(self, result): ...\n")
    hooks = load_hooks(["stranger:Two", "stranger:one"])
    assert list(hooks) == ["stranger:Two", "stranger:one"]
    assert tell(hooks, RESULT, ()).told == ("stranger:Two", "stranger:one")


@pytest.mark.parametrize(
    ("source", "path"),
    [
        pytest.param("", "no_such_package.module:f", id="no module"),
        pytest.param("", "stranger:missing", id="no name"),
        pytest.param("", "stranger:", id="empty name"),
        pytest.param("", ":f", id="empty module"),
        pytest.param("", ".stranger:f", id="relative"),
        pytest.param("import no_such_package", "stranger:f", id="its import fails"),
        pytest.param("raise KeyError('WEBHOOK_URL')", "stranger:f", id="it raises"),
        pytest.param("def f(:", "stranger:f", id="no Python"),
        pytest.param("f = 5", "stranger:f", id="not callable"),
    ],
)
def test_a_hook_that_cannot_be_called_stops_the_worker_at_start(stranger: Path, source: str, path: str) -> None:
    """Better than at the end of the first paid job; the sentence names the variable and the path."""
    stranger.write_text(source)
    with pytest.raises(ConfigurationError) as caught:
        load_hooks(["json:dumps", path])
    assert str(caught.value).startswith(f"RUSHES_HOOKS__CALL names {path}, which cannot be ")
