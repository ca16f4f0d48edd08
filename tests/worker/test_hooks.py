"""Result hooks: strangers' code, called at least once, each on its own."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from config.settings import ConfigurationError, HooksSettings
from jobs.delivery import Delivered, Delivery, NotDelivered
from jobs.job import Stored
from jobs.test_deliveries import made_up, new_test_delivery_id
from worker.receivers.hooks import RETRY_LONGEST_S, HookReceiver, load_hooks
from worker.receivers.result import JobResult, ResultHook

JOB, REQUEST = made_up(new_test_delivery_id(), now=1_800_000_000)
DELIVERY = Delivery("a:b", JOB.id, "job.completed", event_turn=1, at=1_800_000_000, tries=0)


def receiver(hook: ResultHook, **settings: float) -> HookReceiver:
    """A receiver that calls this hook."""
    return HookReceiver("a:b", hook, HooksSettings.model_validate(settings), "/archive")


def raising(error: BaseException) -> ResultHook:
    """A hook that raises."""

    def hook(_: JobResult) -> None:
        raise error

    return hook


def test_a_hook_is_called_with_the_record_of_the_job() -> None:
    """One frozen record, whatever the hook."""
    delivered: list[JobResult] = []
    assert receiver(delivered.append).deliver(DELIVERY, JOB, REQUEST) == Delivered()
    assert [(result.id, result.status, result.revision) for result in delivered] == [(JOB.id, "completed", 1)]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        pytest.param(ValueError("no disk"), "ValueError: no disk", id="ValueError"),
        pytest.param(KeyError("x"), "KeyError: 'x'", id="KeyError"),
        pytest.param(SystemExit(3), "SystemExit: 3", id="sys.exit"),
        pytest.param(asyncio.CancelledError(), "CancelledError: ", id="cancelled asyncio"),
        pytest.param(RuntimeError("x" * 999), "RuntimeError: " + "x" * 286, id="long-winded"),
    ],
)
def test_whatever_a_hook_raises_is_retried(
    error: BaseException, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A stranger's code must not end the worker's thread, and its traceback is for the log only."""
    with caplog.at_level(logging.WARNING, "rushes.hooks"):
        assert receiver(raising(error)).deliver(DELIVERY, JOB, REQUEST) == NotDelivered(message)

    [record] = caplog.records
    assert (record.getMessage(), record.exc_info and record.exc_info[1]) == (
        "hook raised hook=a:b",
        error,
    )


class Shop:
    """Somebody's code, in every shape that an async hook may have."""

    def __init__(self) -> None:
        self.delivered: list[str] = []

    async def note(self, result: JobResult, *, how: str = "method") -> None:
        """Note the call, after a moment."""
        await asyncio.sleep(0)
        self.delivered.append(f"{how} {result.id}")

    async def __call__(self, result: JobResult) -> None:
        """Take note as an object that can be called."""
        await self.note(result, how="object")

    def plain(self, result: JobResult) -> object:
        """Hand out what has to be awaited, without being async."""
        return self.note(result, how="plain")

    def later(self, result: JobResult) -> object:
        """Hand out an awaitable of another kind."""
        return Later(self.note(result, how="later"))

    def yielding(self, result: JobResult) -> Iterator[None]:
        """Run nothing when called."""
        self.delivered.append(f"yielding {result.id}")
        yield

    async def yielding_async(self, result: JobResult) -> AsyncIterator[None]:
        """Run nothing when called, either."""
        self.delivered.append(f"yielding {result.id}")
        yield


class Later:
    """What can be awaited, and is no coroutine."""

    def __init__(self, inner: Coroutine[Any, Any, None]) -> None:
        self._inner = inner

    def __await__(self) -> Generator[Any, None, None]:
        """Wait for what it holds."""
        return self._inner.__await__()


@pytest.mark.parametrize(
    ("shape", "how"),
    [
        (lambda shop: shop.note, "method"),
        (lambda shop: shop, "object"),
        (lambda shop: shop.plain, "plain"),
        (lambda shop: shop.later, "later"),
        (lambda shop: partial(shop.note, how="partial"), "partial"),
        (lambda shop: partial(partial(shop)), "object"),
        (lambda shop: lambda result: shop.note(result, how="lambda"), "lambda"),
    ],
)
def test_an_async_hook_is_run_to_its_end(shape: Callable[[Shop], ResultHook], how: str) -> None:
    """A hook of any shape counts as delivered only once it ran."""
    shop = Shop()
    hook = receiver(shape(shop))

    assert [hook.deliver(DELIVERY, JOB, REQUEST), hook.deliver(DELIVERY, JOB, REQUEST)] == [Delivered(), Delivered()]
    assert shop.delivered == [f"{how} {JOB.id}"] * 2


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("no disk"), "ValueError: no disk"),
        (SystemExit(3), "SystemExit: 3"),
        (asyncio.CancelledError(), "CancelledError: "),
        (BaseExceptionGroup("two", [SystemExit(3)]), "BaseExceptionGroup: two (1 sub-exception)"),
    ],
)
def test_whatever_an_async_hook_raises_is_retried(error: BaseException, message: str) -> None:
    """An async hook fails like any other hook."""

    async def hook(_: JobResult) -> None:
        await asyncio.sleep(0)
        raise error

    assert receiver(hook).deliver(DELIVERY, JOB, REQUEST) == NotDelivered(message)


@pytest.mark.parametrize("name", ["yielding", "yielding_async"])
def test_a_hook_that_only_hands_out_a_generator_is_not_delivered(name: str) -> None:
    """One that is hidden behind a function is found when it is called; nothing of it has run."""
    shop = Shop()
    outcome = receiver(getattr(shop, name)).deliver(DELIVERY, JOB, REQUEST)

    assert isinstance(outcome, NotDelivered)
    assert "generator" in outcome.message
    assert shop.delivered == []


def test_ctrl_c_in_a_hook_is_no_hooks_failure() -> None:
    """The operator's wish goes before the delivery; its lease ends and it is repeated after the restart."""
    with pytest.raises(KeyboardInterrupt):
        receiver(raising(KeyboardInterrupt())).deliver(DELIVERY, JOB, REQUEST)


def test_the_wait_doubles_until_the_attempts_are_used_up() -> None:
    """A retry budget of its own: 2 s, 4 s, … up to the longest, then given up."""
    waits = receiver(raising(ValueError()), attempts=14)
    seconds = [waits.retries.wait_s(failures, spread=0.9) for failures in range(1, 16)]
    assert seconds[:3] == [2, 4, 8]
    assert seconds[10:] == [2048, RETRY_LONGEST_S, RETRY_LONGEST_S, None, None]


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of somebody's, to be filled by the test."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "stranger", raising=False)
    return tmp_path / "stranger.py"


def test_hooks_are_loaded_by_their_import_path(stranger: Path) -> None:
    """The path is the hook's name from then on."""
    stranger.write_text(
        "def one(result): ...\nclass Two:\n    def __init__(self, result): ...\nasync def three(result): ...\n"
    )
    paths = ["stranger:Two", "stranger:one", "stranger:three"]
    assert list(load_hooks(paths)) == paths


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
        pytest.param("def f(result): yield", "stranger:f", id="a generator"),
        pytest.param("async def f(result): yield", "stranger:f", id="an async generator"),
        pytest.param("class A:\n def m(self, result): yield\nf = A().m", "stranger:f", id="a method that yields"),
        pytest.param("class A:\n def __call__(self, result): yield\nf = A()", "stranger:f", id="an object that yields"),
        pytest.param(
            "from functools import partial\nclass A:\n async def __call__(self, r): yield\nf = partial(partial(A()))",
            "stranger:f",
            id="a partial that yields",
        ),
    ],
)
def test_a_hook_that_cannot_be_called_stops_the_worker_at_start(stranger: Path, source: str, path: str) -> None:
    """Better than at the end of the first paid job; the sentence names the variable and the path."""
    stranger.write_text(source)
    with pytest.raises(ConfigurationError) as caught:
        load_hooks(["json:dumps", path])
    assert str(caught.value).startswith(f"RUSHES_HOOKS__CALL names {path}, which cannot be ")


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "2026/../x.mp4"])
def test_a_hook_is_led_to_no_file_outside_the_archive(path: str) -> None:
    """A hook opens what the record names, and the record stands in Redis, where somebody else may write."""
    delivered: list[JobResult] = []
    job = JOB.model_copy(update={"stored": Stored(path, 1, "ab", "video/mp4")})
    receiver(delivered.append).deliver(DELIVERY, job, REQUEST)
    assert [(result.path, result.file, result.location) for result in delivered] == [(None, None, None)]
