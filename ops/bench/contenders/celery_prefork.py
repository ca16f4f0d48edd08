"""Celery as its documentation shows it: prefork, and `raise self.retry(countdown=…)` until the video is done."""

from typing import Any

from celery import Celery

from ops.bench.blocking import CONFIG, buy, poll, store
from ops.bench.contender import About

app = Celery("celery_prefork", broker=CONFIG.redis_url)
app.conf.task_ignore_result = True

ABOUT = About(
    title="Celery, prefork, self.retry",
    packages=("celery", "kombu", "redis", "requests"),
    how="raise self.retry(countdown=…), which raises",
    limit="a retry is an exception, a traceback, a log line, a pipe to the child and two Redis round trips",
    worker=lambda _config: (
        *("-m", "celery", "-A", "ops.bench.contenders.celery_prefork", "worker", "-P", "prefork", "-c", "4"),
        *("--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "WARNING"),
    ),
)


@app.task
def generate(prompt: str) -> None:
    """Buy, then schedule the first poll."""
    poll_once.apply_async((buy(prompt),), countdown=CONFIG.first_s)


@app.task(bind=True, max_retries=None)
def poll_once(self: Any, generation_id: str) -> None:
    """Poll once; store the video, or schedule the next poll."""
    url = poll(generation_id)
    if url is None:
        raise self.retry(countdown=CONFIG.interval_s)
    store(generation_id, url)


def submit(count: int) -> None:
    """Submit jobs one by one."""
    for number in range(count):
        generate.delay(f"take {number}")
