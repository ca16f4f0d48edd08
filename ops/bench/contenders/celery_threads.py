"""Celery with its thread pool and a new message with a countdown in place of the exception."""

from celery import Celery

from ops.bench.blocking import COURSE, buy, poll, store
from ops.bench.contender import About

app = Celery("celery_threads", broker=COURSE.redis_url)
app.conf.task_ignore_result = True

ABOUT = About(
    title="Celery, threads, countdown without the raise",
    packages=("celery", "kombu", "redis", "requests"),
    how="apply_async(countdown=…) from inside the task",
    limit="one message a poll: publish, BRPOP, held in the worker, a timer, a pool hand-over",
    worker=lambda course: (
        *("-m", "celery", "-A", "ops.bench.contenders.celery_threads", "worker"),
        *("-P", "threads", "-c", str(min(course.slots, 32))),
        *("--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "WARNING"),
    ),
)


@app.task
def generate(prompt: str) -> None:
    """Buy, then have it polled."""
    watch.apply_async((buy(prompt),), countdown=COURSE.first_s)


@app.task
def watch(generation_id: str) -> None:
    """Poll once; again later, or store."""
    url = poll(generation_id)
    if url is None:
        watch.apply_async((generation_id,), countdown=COURSE.interval_s)
    else:
        store(generation_id, url)


def give(count: int) -> None:
    """One by one."""
    for number in range(count):
        generate.delay(f"take {number}")
