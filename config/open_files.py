"""How many files this process may hold open, sockets among them.

Most systems allow a thousand at first and far more to a process that asks for it: the low figure protects programs that
wait by select(2), and none of ours does.
"""

import resource
from contextlib import suppress


def allow(count: int) -> int:
    """Let this process, and those that it starts, hold `count` files open if it may; returns how many it can now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):  # macOS has a lower limit that is told nowhere
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return count if soft == resource.RLIM_INFINITY else soft
