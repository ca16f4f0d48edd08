"""dramatiq on Redis: the actor sends itself again with a delay."""

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from ops.bench.blocking import CONFIG, buy, poll, store
from ops.bench.contender import About

dramatiq.set_broker(RedisBroker(url=CONFIG.redis_url))

ABOUT = About(
    title="dramatiq, delay",
    packages=("dramatiq", "redis", "requests"),
    how="send_with_options(delay=…)",
    limit="one message a poll, fetched by Lua, kept in the worker's memory until due, then enqueued and fetched again",
    worker=lambda config: (
        *("-m", "dramatiq", "ops.bench.contenders.dramatiq_delay", "-p", "1", "-t", str(min(config.slots, 32))),
    ),
)


@dramatiq.actor
def generate(prompt: str) -> None:
    """Buy, then schedule the first poll."""
    poll_once.send_with_options(args=(buy(prompt),), delay=round(CONFIG.first_s * 1000))


@dramatiq.actor
def poll_once(generation_id: str) -> None:
    """Poll once; store the video, or schedule the next poll."""
    url = poll(generation_id)
    if url is None:
        poll_once.send_with_options(args=(generation_id,), delay=round(CONFIG.interval_s * 1000))
    else:
        store(generation_id, url)


def submit(count: int) -> None:
    """Submit jobs one by one."""
    for number in range(count):
        generate.send(f"take {number}")
