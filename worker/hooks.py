"""Result hooks: whoever a deployment wants told of each ended job, at least once, by import path."""

import importlib
import logging
from asyncio import CancelledError
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from config.settings import ConfigurationError
from jobs.result import JobResult

log = logging.getLogger("rushes.hooks")

Hook = Callable[[JobResult], object]
"""Told of one ended job. It may be told twice: key what you write by `result.id`. Raising means: tell me again."""


@dataclass(frozen=True, slots=True)
class Round:
    """Who has been told of a job's end by now, and who raised this time."""

    told: tuple[str, ...]
    failed: Mapping[str, str]


def load_hooks(paths: Sequence[str]) -> dict[str, Hook]:
    """Import each hook.

    Raises:
        ConfigurationError: one cannot be imported or called.
    """
    return {path: _load(path) for path in paths}


def tell(hooks: Mapping[str, Hook], result: JobResult, already: Sequence[str]) -> Round:
    """Call each hook that has not been told yet; one that raises hinders no other."""
    told, failed = list(already), {}
    for name, hook in hooks.items():
        if name in already:
            continue
        try:
            hook(result)
        except (Exception, SystemExit, CancelledError) as error:  # a stranger's code: whatever it raises is its own
            log.warning("hook raised job=%s hook=%s", result.id, name, exc_info=error)
            failed[name] = f"{type(error).__name__}: {error}"[:300]
        else:
            told.append(name)
    return Round(tuple(told), failed)


def _load(path: str) -> Hook:
    module, _, name = path.partition(":")
    try:
        hook = getattr(importlib.import_module(module), name)
    except Exception as error:  # importing runs a stranger's code
        raise ConfigurationError(f"RUSHES_HOOKS__CALL names {path}, which cannot be imported: {error}") from error
    if not callable(hook):
        raise ConfigurationError(f"RUSHES_HOOKS__CALL names {path}, which cannot be called")
    return hook  # type: ignore[no-any-return]  # callable() narrows Any no further
