"""A worker of the next version, as an older one will meet it: its messages and rows hold things not known today."""

from typing import Any

import jobs.row
from config import reminding
from worker.app import app

jobs.row.VERSION = 2  # type: ignore[misc]  # that is the point

_send_task = app.send_task


def _send_more(name: str, args: Any = (), **options: Any) -> Any:
    """Send arguments and headers that today's worker has never heard of."""
    options["headers"] = {**(options.get("headers") or {}), "rushes": reminding.MESSAGE_VERSION + 1, "mood": "sunny"}
    return _send_task(name, args=(*args, {"from": "the next version"}), **options)


app.send_task = _send_more  # type: ignore[method-assign, assignment]  # as above
