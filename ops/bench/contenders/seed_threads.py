"""The seed program's design: a thread per job with requests and `time.sleep`; jobs come through a Redis list."""

import threading
import time
from typing import Any

import redis

from ops.bench.blocking import CONFIG, buy, poll, store
from ops.bench.contender import About

LIST = "seed:jobs"

ABOUT = About(
    title="The seed program: a thread per job",
    packages=("requests",),
    how="time.sleep in a thread per job; nothing survives the process",
    limit="a thread per job: memory, and the interpreter lock among thousands of threads",
    worker=lambda _config: ("-m", "ops.bench.contender", "work", "seed_threads"),
)


def work() -> None:
    """Start a thread for each job."""
    with redis.Redis.from_url(CONFIG.redis_url, socket_timeout=None) as client:  # it waits for jobs without a time-out
        while True:
            popped: Any = client.blpop([LIST])
            threading.Thread(target=_generate, args=(popped[1].decode(),), daemon=True).start()


def _generate(prompt: str) -> None:
    generation_id = buy(prompt)
    time.sleep(CONFIG.first_s)
    while (url := poll(generation_id)) is None:
        time.sleep(CONFIG.interval_s)
    store(generation_id, url)


def submit(count: int) -> None:
    """Submit jobs one by one."""
    with redis.Redis.from_url(CONFIG.redis_url) as client:
        for number in range(count):
            client.rpush(LIST, f"take {number}")
