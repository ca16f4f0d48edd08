"""A job's timeline: which lanes it has, how long each took, and what stands in it."""

import re
from typing import Final

from jobs.delivery import DeliveryLine
from jobs.job import Hold
from jobs.job_log import JobLog
from jobs.ledger import Ledger
from jobs.schedule import Eta
from jobs.states import State
from producer.page.timeline import LANE_PX, drawn, lanes_of
from tests import steps
from tests.stage import Clock

ENDS_AT: Final = 'x="([\\d.]+)%" y="[\\d.]+" width="([\\d.]+)%"'


def test_each_phase_has_a_lane_with_its_time_and_its_events(ledger: Ledger, clock: Clock) -> None:
    """A hold is trouble within the wait; the poll that finds the video counts as one."""
    job = steps.job_in(ledger, State.QUEUED)
    clock.advance(5)
    steps.held(ledger, job, 10, Hold.THROTTLED, "slow down")
    clock.advance(15)
    job = steps.walked(ledger, job.id, State.RENDERING)
    for _ in range(2):
        clock.advance(30)
        steps.polled(ledger, [steps.Poll(ledger.get(job.id), "generating", 30)])
    clock.advance(30)
    steps.rendered(ledger, ledger.get(job.id), steps.VIDEO)
    clock.advance(10)
    steps.completed(ledger, ledger.get(job.id), steps.STORED)
    job, log = ledger.get(job.id), JobLog(ledger._scripts)
    told = DeliveryLine(job.id, "job.completed", delivered=True, tries=1, took_s=0.2, message="ok", at=clock.now + 1)

    lanes = lanes_of(job, log.of(job.id), [("hook", told)], now=clock.now)

    assert [lane.label for lane in lanes] == [
        "waits to be bought 20 s",
        "purchase 0 s",
        "rendering 1 min 30 s · 3 polls",
        "download 10 s",
        "deliveries 1",
    ]
    assert [dot.kind for dot in lanes[0].dots] == ["step", "trouble", "step"]
    assert "throttled" in lanes[0].dots[1].words
    picture = drawn(job, lanes, now=clock.now, eta=None)
    assert f'height="{LANE_PX * 5}"' in picture
    assert all(0 <= float(start) <= float(start) + float(width) <= 100 for start, width in re.findall(ENDS_AT, picture))


def test_a_running_job_is_drawn_as_far_as_its_eta(ledger: Ledger, clock: Clock) -> None:
    """With the band in which it is probably done."""
    job = steps.job_in(ledger, State.RENDERING)
    clock.advance(30)
    lanes = lanes_of(job, JobLog(ledger._scripts).of(job.id), [], now=clock.now)

    picture = drawn(job, lanes, now=clock.now, eta=Eta(p50_s=30, p90_s=70))

    band = re.search(f'class="band" {ENDS_AT}', picture)
    assert band
    start, width = map(float, band.groups())
    assert round((start - 0.7) / 98.6, 2) == 0.6
    assert round(start + width, 1) == 99.3


def test_what_comes_long_after_the_end_is_left_to_the_list(ledger: Ledger, clock: Clock) -> None:
    """Retention a week later would leave a point of the rest."""
    job = steps.job_in(ledger, State.COMPLETED)
    clock.advance(7 * 86_400)
    ledger.prune(job.id, job.state.status, why="age", size_bytes=1)

    lanes = lanes_of(ledger.get(job.id), JobLog(ledger._scripts).of(job.id), [], now=clock.now)

    assert not [dot for lane in lanes for dot in lane.dots if "pruned" in dot.words]
