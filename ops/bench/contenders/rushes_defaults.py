"""Rushes with its defaults: Flower's events, the database of results and descriptions, but no pictures."""

from dataclasses import replace

from ops.bench.contender import RunConfig
from ops.bench.contenders import rushes

_LEAN = ("TASK_EVENTS", "SQL__ENABLED", "PROBE", "MANIFEST")


def environment(config: RunConfig) -> dict[str, str]:
    """Return the settings of the lean contender, without what it turns off."""
    return {name: value for name, value in rushes.environment(config).items() if not name.endswith(_LEAN)}


ABOUT = replace(rushes.ABOUT, title="Rushes with Flower's events, database and descriptions", environment=environment)
submit = rushes.submit
