"""Raises this process's limit of open files and sockets.

Most systems allow about 1,000 by default and far more on request; the low default protects programs that use select(2),
and ours do not.
"""

import resource
from contextlib import suppress


def allow(count: int) -> int:
    """Raise the limit of this process and its children to `count`, if permitted; returns the new limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):  # macOS has an undocumented lower limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return count if soft == resource.RLIM_INFINITY else soft
