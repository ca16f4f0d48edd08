"""huey on Redis: the task schedules itself again."""

from huey import RedisHuey

from ops.bench.blocking import COURSE, buy, poll, store
from ops.bench.contender import About

huey = RedisHuey("bench", url=COURSE.redis_url, results=False)

ABOUT = About(
    title="huey, schedule",
    packages=("huey", "redis", "requests"),
    how="task.schedule(delay=…)",
    limit="one scheduler thread that wakes once a second, and one BRPOP a task",
    worker=lambda course: (
        *("-m", "huey.bin.huey_consumer", "ops.bench.contenders.huey_schedule.huey"),
        *("-k", "thread", "-w", str(min(course.slots, 32)), "-q"),
    ),
)


@huey.task()
def generate(prompt: str) -> None:
    """Buy, then have it polled."""
    watch.schedule((buy(prompt),), delay=COURSE.first_s)


@huey.task()
def watch(generation_id: str) -> None:
    """Poll once; again later, or store."""
    url = poll(generation_id)
    if url is None:
        watch.schedule((generation_id,), delay=COURSE.interval_s)
    else:
        store(generation_id, url)


def give(count: int) -> None:
    """One by one."""
    for number in range(count):
        generate(f"take {number}")
