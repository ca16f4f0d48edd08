"""The seed's own shape: a thread a job, requests, `time.sleep`. Jobs come over a Redis list."""

import threading
import time
from typing import Any

import redis

from ops.bench.blocking import COURSE, buy, poll, store
from ops.bench.contender import About

LIST = "seed:jobs"

ABOUT = About(
    title="The seed's shape: a thread a job",
    packages=("requests",),
    how="time.sleep in a thread of its own; nothing survives the process",
    limit="a thread a job: memory, and the interpreter lock among thousands of threads",
    worker=lambda _course: ("-m", "ops.bench.contender", "work", "seed_threads"),
)


def work() -> None:
    """Start a thread for each job that comes."""
    with redis.Redis.from_url(COURSE.redis_url, socket_timeout=None) as client:  # it waits for jobs as long as it takes
        while True:
            popped: Any = client.blpop([LIST])
            threading.Thread(target=_generate, args=(popped[1].decode(),), daemon=True).start()


def _generate(prompt: str) -> None:
    generation_id = buy(prompt)
    time.sleep(COURSE.first_s)
    while (url := poll(generation_id)) is None:
        time.sleep(COURSE.interval_s)
    store(generation_id, url)


def give(count: int) -> None:
    """One by one."""
    with redis.Redis.from_url(COURSE.redis_url) as client:
        for number in range(count):
            client.rpush(LIST, f"take {number}")
