"""Result hooks: whoever a deployment wants told of each ended job, at least once, by import path."""

import importlib
import logging
from asyncio import CancelledError
from collections.abc import Sequence

from config.settings import ConfigurationError, HooksSettings
from jobs.job import Job, VideoRequest
from jobs.outbox import Delivery, LaneTerms
from jobs.result import ResultHook, result_of
from worker.receivers import NotTold, Outcome, Told

log = logging.getLogger("rushes.hooks")


class HookReceiver:
    """Calls one hook, a stranger's code, with the record of an ended job."""

    def __init__(self, name: str, hook: ResultHook, settings: HooksSettings, archive: str) -> None:
        self._name = name
        self._hook = hook
        self._settings = settings
        self._archive = archive
        self.terms = LaneTerms(width=settings.width, lease_s=settings.lease_s)

    def tell(self, delivery: Delivery, job: Job, request: VideoRequest) -> Outcome:  # noqa: ARG002 (of all receivers)
        """Call the hook; whatever it raises is its own."""
        try:
            self._hook(result_of(job, request, self._archive))
        except (Exception, SystemExit, CancelledError) as error:
            log.warning("hook raised job=%s hook=%s", job.id, self._name, exc_info=error)
            return NotTold(f"{type(error).__name__}: {error}"[:300])
        return Told()

    def next_try_s(self, tries: int) -> float | None:
        """The wait doubles with each failure, until the attempts are used up."""
        if tries >= self._settings.attempts:
            return None
        return min(self._settings.retry_first_s * 2.0 ** min(tries - 1, 30), self._settings.retry_longest_s)


def load_hooks(paths: Sequence[str]) -> dict[str, ResultHook]:
    """Import each hook.

    Raises:
        ConfigurationError: one cannot be imported or called.
    """
    return {path: _load(path) for path in paths}


def _load(path: str) -> ResultHook:
    module, _, name = path.partition(":")
    try:
        hook = getattr(importlib.import_module(module), name)
    except Exception as error:  # importing runs a stranger's code
        raise ConfigurationError(f"RUSHES_HOOKS__CALL names {path}, which cannot be imported: {error}") from error
    if not callable(hook):
        raise ConfigurationError(f"RUSHES_HOOKS__CALL names {path}, which cannot be called")
    return hook  # type: ignore[no-any-return]  # callable() narrows Any no further
