"""CPU and memory of a worker's process tree, from /proc."""

from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class Reading:
    """CPU and memory of a process tree at one time."""

    cpu_s: float
    rss_bytes: int


def read(pid: int) -> Reading:
    """Read user and system seconds (dead children included) and resident bytes of a process and its children."""
    cpu_s, rss = 0.0, 0
    for member in _family(pid):
        try:
            times, memory = member.cpu_times(), member.memory_info()
        except psutil.NoSuchProcess:
            continue
        cpu_s += times.user + times.system + times.children_user + times.children_system
        rss += memory.rss
    return Reading(cpu_s, rss)


def busy_s(core: int) -> float:
    """Return a core's busy seconds over all processes; 0 if the system does not report them."""
    cores = psutil.cpu_times(percpu=True)
    if core >= len(cores):
        return 0.0
    times = cores[core]
    return float(sum(times)) - times.idle - getattr(times, "iowait", 0.0)


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _family(pid: int) -> list[psutil.Process]:
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
