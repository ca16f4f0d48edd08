"""Writes counts in English."""


def counted(count: int, one: str, more: str) -> str:
    """Write a count with words that agree with it, such as "1 job waits", "2 jobs wait"."""
    return f"{count:,} {one if count == 1 else more}"
