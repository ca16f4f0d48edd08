"""Result hooks: a deployment's code, named by import path, called at least once for each ended job."""

import asyncio
import importlib
import inspect
import logging
from asyncio import CancelledError
from collections.abc import AsyncGenerator, Awaitable, Generator, Sequence
from functools import partial
from typing import Final

from config.settings import ConfigurationError, HooksSettings
from jobs.delivery import Delivered, Delivery, NotDelivered, Outcome
from jobs.job import Job, VideoRequest
from jobs.moves.delivery import RetryTerms
from jobs.outbox import ReceiverTerms
from worker.receivers.outcome import Receiver
from worker.receivers.result import JobResult, ResultHook, result_of

log = logging.getLogger("rushes.hooks")

RETRY_FIRST_S: Final = 2.0
"""The first wait after a hook raised; it doubles each time."""

RETRY_LONGEST_S: Final = 3600.0
"""The longest wait between two calls of one hook: 12 calls, the default, take seven hours."""


class HookReceiver(Receiver):
    """Calls one hook, a deployment's code, with the record of an ended job."""

    def __init__(
        self, name: str, hook: ResultHook, settings: HooksSettings, archive: str, time_scale: float = 1.0
    ) -> None:
        self._name = name
        self._hook = hook
        self._archive = archive
        self.terms = ReceiverTerms(width=settings.width, longest_s=settings.longest_s)
        self.retries = retry_terms(settings, time_scale)

    def deliver(self, delivery: Delivery, job: Job, request: VideoRequest) -> Outcome:  # noqa: ARG002 (of all receivers)
        """Call the hook; any exception is a failed delivery."""
        try:
            _run(self._hook, result_of(job, request, self._archive))
        except (Exception, SystemExit, CancelledError, BaseExceptionGroup) as error:
            log.warning("hook raised hook=%s", self._name, exc_info=error)
            return NotDelivered(f"{type(error).__name__}: {error}"[:300])
        return Delivered()


def retry_terms(settings: HooksSettings, time_scale: float) -> RetryTerms:
    """Return when a failed delivery to a hook or the database is tried again."""
    return RetryTerms.doubling(RETRY_FIRST_S / time_scale, RETRY_LONGEST_S / time_scale, settings.attempts)


def _run(hook: ResultHook, result: JobResult) -> None:
    """Call the hook, and await its result: an async hook gets an event loop for each call."""
    returned = hook(result)
    if inspect.isawaitable(returned):
        asyncio.run(_awaited(returned))
    elif isinstance(returned, Generator | AsyncGenerator):
        raise TypeError("the hook returned a generator, of which nothing has run: return when all is done")


async def _awaited(returned: Awaitable[object]) -> None:
    await returned


def load_hooks(paths: Sequence[str]) -> dict[str, ResultHook]:
    """Import each hook.

    Raises:
        ConfigurationError: one cannot be imported, or calling it would run nothing.
    """
    return {path: _load(path) for path in paths}


def _load(path: str) -> ResultHook:
    module, _, name = path.partition(":")
    try:
        hook = getattr(importlib.import_module(module), name)
    except Exception as error:  # importing runs foreign code
        raise ConfigurationError(f"RUSHES_HOOKS__CALL names {path}, which cannot be imported: {error}") from error
    if not callable(hook):
        raise ConfigurationError(f"RUSHES_HOOKS__CALL names {path}, which cannot be called")
    if _is_lazy(hook):
        raise ConfigurationError(
            f"RUSHES_HOOKS__CALL names {path}, which cannot be run: it yields, so that a call runs nothing of it; "
            "make it a function, or an async one, that returns when all is done"
        )
    return hook  # type: ignore[no-any-return]  # callable() narrows Any no further


def _is_lazy(hook: object) -> bool:
    """Whether a call only makes a generator: of a function, a method, a callable object or a partial of one."""
    while isinstance(hook, partial):
        hook = hook.func
    called = (hook, type(hook).__call__)
    return any(inspect.isgeneratorfunction(one) or inspect.isasyncgenfunction(one) for one in called)
