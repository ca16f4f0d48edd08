"""Room: no kind of work takes all of a process's threads, and polls always find one."""

import os
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from jobs.queues import SLOW_POLLS, TaskName, delivery_queue
from jobs.states import FollowUp, State
from worker.room import FULL_S, OWN_SHARE_FULL_S, Room

BUY = (TaskName.SUBMIT, State.QUEUED)
STORE = (TaskName.STORE, State.STORING)
FETCH = (TaskName.LATE_FETCH, FollowUp.LATE_FETCH)
DELIVER = (TaskName.DELIVER, delivery_queue("sql"))
DESCRIBE = (TaskName.DESCRIBE, FollowUp.DESCRIBE)
POLL = (TaskName.POLL, State.RENDERING)
SLOW = (TaskName.POLL, SLOW_POLLS)
OTHERS = [POLL, (TaskName.RECONCILE, State.IN_DOUBT), (TaskName.DOUBT, State.SUBMITTING)]


def entered(stack: ExitStack, room: Room, *work: tuple[TaskName, str]) -> list[bool]:
    """Whether each of these tasks gets a thread, until the stack ends."""
    return [stack.enter_context(room.of(task.value, queue)) == 0 for task, queue in work]


def test_celerys_own_option_says_how_many_threads_are_shared_out(redis_url: str, tmp_path: Path) -> None:
    """`rushes worker -c 6` runs six: of sixty-four, half would be more than there are, and polls would find none."""
    settings = {
        "REDIS__URL": redis_url,
        "UPSTREAM__API_KEY": "key",
        "STATE_DIR": str(tmp_path),
        "WORKER__THREADS": "64",
    }
    code = (
        "from celery.apps.worker import Worker; from worker.app import app; "
        "Worker(app=app, hostname='six', concurrency=6); "
        "print(app.runtime.room.half, app.settings.worker.threads, app.conf.broker_pool_limit)"
    )

    said = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {f"RUSHES_{name}": value for name, value in settings.items()},
        capture_output=True,
        text=True,
        check=True,
    )

    assert said.stdout.split() == ["3", "6", "14"]


@pytest.mark.parametrize("work", [(BUY, BUY), (STORE, FETCH), (DELIVER, DESCRIBE)])
def test_each_kind_of_work_has_half_of_the_threads(work: tuple[tuple[TaskName, str], ...]) -> None:
    """An upstream, a store or a receiver that hangs leaves the other half to the others."""
    with ExitStack() as stack:
        room = Room(8)
        assert entered(stack, room, *work, *work) == [True] * 4
        assert entered(stack, room, *work) == [False, False]


def test_a_quarter_is_left_for_polls_whatever_else_is_under_way() -> None:
    """Each kind alone may use half, all together three quarters."""
    with ExitStack() as stack:
        room = Room(8)
        assert entered(stack, room, *[BUY] * 4, *[STORE] * 3) == [True] * 6 + [False]
        assert entered(stack, room, DELIVER) == [False]
        assert entered(stack, room, *OTHERS * 3) == [True] * 9


def test_what_is_done_makes_room() -> None:
    """A task that found no room has taken none: it must not give back what it never had."""
    room = Room(2)
    with ExitStack() as stack:
        assert entered(stack, room, BUY, BUY, STORE) == [True, False, False]
    with ExitStack() as stack:
        assert entered(stack, room, STORE, STORE, BUY) == [True, False, False]


def test_a_task_that_raises_makes_room_too() -> None:
    """Else a worker would buy nothing more after a few odd jobs."""
    room = Room(2)
    for _ in range(3):
        with suppress(ValueError), room.of(TaskName.SUBMIT, State.QUEUED) as wait_s:
            assert wait_s == 0
            raise ValueError


def webhook(owner: str, number: int) -> tuple[TaskName, str]:
    """The deliveries of one of an owner's webhooks."""
    return TaskName.DELIVER, delivery_queue(f"{owner}.{number}")


def owner_of(receiver: str) -> str | None:
    """The owner that a webhook of these tests names."""
    owner, dot, _ = receiver.partition(".")
    return owner if dot else None


def test_the_webhooks_of_one_tenant_use_a_quarter_of_what_delivers_and_all_webhooks_three_quarters() -> None:
    """Receivers that take long leave threads to other tenants' receivers, to hooks, and to the database."""
    room = Room(16, owner_of)
    with ExitStack() as stack:
        slow = [webhook("attacker", number) for number in range(3)]
        assert entered(stack, room, *slow) == [True, True, False]
        assert entered(stack, room, *(webhook(f"shop{number // 2}", number) for number in range(4))) == [True] * 4
        assert entered(stack, room, webhook("bakery", 0)) == [False]
        assert entered(stack, room, DELIVER, DESCRIBE, DELIVER) == [True, True, False]
    with ExitStack() as stack:
        assert entered(stack, room, *slow) == [True, True, False]


def test_a_webhook_beyond_its_tenants_share_rings_less_often() -> None:
    """Dozens may wait for the few threads of their tenant, and each ring costs the worker a message."""
    room = Room(16, owner_of)
    with ExitStack() as stack:
        waits = [stack.enter_context(room.of(*webhook("attacker", number))) for number in range(3)]
        assert waits == [0, 0, OWN_SHARE_FULL_S]
        entered(stack, room, *(webhook(f"shop{number}", 0) for number in range(4)))
        assert stack.enter_context(room.of(*webhook("bakery", 0))) == FULL_S


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_smallest_workers_do_every_kind_of_work(threads: int) -> None:
    """One after the other."""
    for work in (BUY, STORE, FETCH, DELIVER, webhook("shop", 0), DESCRIBE, SLOW, *OTHERS):
        with ExitStack() as stack:
            assert entered(stack, Room(threads, owner_of), work) == [True]


def test_slow_polls_use_a_quarter_and_take_nothing_from_the_others() -> None:
    """Generations whose polls hang must not delay those whose polls are quick, nor purchases."""
    with ExitStack() as stack:
        room = Room(8)
        assert entered(stack, room, SLOW, SLOW, SLOW) == [True, True, False]
        assert entered(stack, room, *[BUY] * 4, *[DELIVER] * 2, POLL) == [True] * 7


def test_while_most_polls_are_slow_they_may_use_any_thread() -> None:
    """An upstream that has become slow as a whole is polled all the same."""
    with ExitStack() as stack:
        room = Room(8)
        room.note_polls([True] * 20)
        assert entered(stack, room, *[SLOW] * 8) == [True] * 8
        room.note_polls([False] * 20)
        assert entered(stack, room, SLOW) == [False]


@pytest.mark.parametrize(
    ("polls", "are_slow"),
    [
        ([], False),
        ([[True, False]], False),
        ([[True, True, False]], True),
        ([[False] * 100, [True]], False),
        ([[False] * 100, *[[True] * 2] * 9], True),
        ([[True] * 100, *[[False] * 2] * 9], False),
    ],
)
def test_the_last_polls_count_most(polls: list[list[bool]], are_slow: bool) -> None:
    """What an upstream was like a thousand polls ago says little about it now; without polls nothing is slow."""
    room = Room(8)
    for timed_out in polls:
        room.note_polls(timed_out)
    assert room.most_polls_are_slow is are_slow
