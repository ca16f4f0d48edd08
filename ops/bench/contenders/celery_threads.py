"""Celery with its thread pool and a new message with a countdown in place of the exception."""

from celery import Celery

from ops.bench.blocking import CONFIG, buy, poll, store
from ops.bench.contender import About

app = Celery("celery_threads", broker=CONFIG.redis_url)
app.conf.task_ignore_result = True

ABOUT = About(
    title="Celery, threads, countdown without the raise",
    packages=("celery", "kombu", "redis", "requests"),
    how="apply_async(countdown=…) from inside the task",
    limit="one message a poll: publish, BRPOP, kept in the worker, a timer, a pool hand-over",
    worker=lambda config: (
        *("-m", "celery", "-A", "ops.bench.contenders.celery_threads", "worker"),
        *("-P", "threads", "-c", str(min(config.slots, 32))),
        *("--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "WARNING"),
    ),
)


@app.task
def generate(prompt: str) -> None:
    """Buy, then schedule the first poll."""
    poll_once.apply_async((buy(prompt),), countdown=CONFIG.first_s)


@app.task
def poll_once(generation_id: str) -> None:
    """Poll once; store the video, or schedule the next poll."""
    url = poll(generation_id)
    if url is None:
        poll_once.apply_async((generation_id,), countdown=CONFIG.interval_s)
    else:
        store(generation_id, url)


def submit(count: int) -> None:
    """Submit jobs one by one."""
    for number in range(count):
        generate.delay(f"take {number}")
