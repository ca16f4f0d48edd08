"""What a worker's process tree has used: CPU and memory, from /proc."""

from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class Reading:
    """A tree at one moment."""

    cpu_s: float
    rss_bytes: int


def read(pid: int) -> Reading:
    """User and system seconds and resident bytes of a process and its children, dead ones' seconds included."""
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
    """How many seconds a core has worked, for all processes together; 0 where the system does not tell."""
    cores = psutil.cpu_times(percpu=True)
    if core >= len(cores):
        return 0.0
    told = cores[core]
    return float(sum(told)) - told.idle - getattr(told, "iowait", 0.0)


def lives(pid: int) -> bool:
    """Whether the process runs; one that nobody has waited for yet does not."""
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
