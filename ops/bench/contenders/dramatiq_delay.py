"""dramatiq on Redis: the actor sends itself again with a delay."""

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from ops.bench.blocking import COURSE, buy, poll, store
from ops.bench.contender import About

dramatiq.set_broker(RedisBroker(url=COURSE.redis_url))

ABOUT = About(
    title="dramatiq, delay",
    packages=("dramatiq", "redis", "requests"),
    how="send_with_options(delay=…)",
    limit="one message a poll, fetched by Lua, held in the worker's memory until due, then enqueued and fetched again",
    worker=lambda course: (
        *("-m", "dramatiq", "ops.bench.contenders.dramatiq_delay", "-p", "1", "-t", str(min(course.slots, 32))),
    ),
)


@dramatiq.actor
def generate(prompt: str) -> None:
    """Buy, then have it polled."""
    watch.send_with_options(args=(buy(prompt),), delay=round(COURSE.first_s * 1000))


@dramatiq.actor
def watch(generation_id: str) -> None:
    """Poll once; again later, or store."""
    url = poll(generation_id)
    if url is None:
        watch.send_with_options(args=(generation_id,), delay=round(COURSE.interval_s * 1000))
    else:
        store(generation_id, url)


def give(count: int) -> None:
    """One by one."""
    for number in range(count):
        generate.send(f"take {number}")
