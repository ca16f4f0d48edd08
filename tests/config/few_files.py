"""The worker's app in a process that may hold few files open, and may not ask for more."""

import resource

resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300))

from worker.app import app  # noqa: E402, F401 (the limit comes first)
