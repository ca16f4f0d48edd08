"""huey on Redis: the task schedules itself again."""

from huey import RedisHuey

from ops.bench.blocking import CONFIG, buy, poll, store
from ops.bench.contender import About

huey = RedisHuey("bench", url=CONFIG.redis_url, results=False)

ABOUT = About(
    title="huey, schedule",
    packages=("huey", "redis", "requests"),
    how="task.schedule(delay=…)",
    limit="one scheduler thread that wakes once a second, and one BRPOP a task",
    worker=lambda config: (
        *("-m", "huey.bin.huey_consumer", "ops.bench.contenders.huey_schedule.huey"),
        *("-k", "thread", "-w", str(min(config.slots, 32)), "-q"),
    ),
)


@huey.task()
def generate(prompt: str) -> None:
    """Buy, then schedule the first poll."""
    poll_once.schedule((buy(prompt),), delay=CONFIG.first_s)


@huey.task()
def poll_once(generation_id: str) -> None:
    """Poll once; store the video, or schedule the next poll."""
    url = poll(generation_id)
    if url is None:
        poll_once.schedule((generation_id,), delay=CONFIG.interval_s)
    else:
        store(generation_id, url)


def submit(count: int) -> None:
    """Submit jobs one by one."""
    for number in range(count):
        generate(f"take {number}")
