"""The fleet's rate limits: token buckets that all processes share.

rushes:rate:<name>    string    the moment when a bucket is full again    until then
"""

from jobs.scripts import Scripts, asks_redis


class Limits:
    """Rate limits that all processes share.

    Raises:
        LedgerUnavailable: Redis could not be used.
    """

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    @asks_redis
    def wait_s(self, name: str, *, every_s: float, burst: int = 1) -> float:
        """Take a token: 0 if there was one, else the seconds until there is.

        The bucket regains one every `every_s` seconds, up to `burst`.
        """
        return int(self._scripts.run("limit", name=name, every_s=every_s, burst=burst)) / 1000
