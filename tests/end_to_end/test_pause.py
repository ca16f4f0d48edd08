"""A pause in the middle: nothing is bought, what is bought ends, and each job that waits says why."""

import json

from jobs.states import State
from tests.stage import Stage, a_request, eventually


def test_a_pause_stops_the_buying_of_the_whole_fleet_until_it_is_resumed(stage: Stage) -> None:
    """It outlives the worker that met it."""
    with stage.worker(name="one"):
        first = stage.service.submit(a_request("a boat [sandbox: latency=300]")).job_id
        eventually(lambda: stage.ledger.get(first).state is State.RENDERING, what="the purchase")
        paused = stage.rushes("queue", "pause", "--reason", "the budget is used up")
        waiting = [stage.service.submit(a_request(f"clip {n}")).job_id for n in range(3)]
        assert stage.ended(first).state is State.COMPLETED
    with stage.worker(name="two"):
        view = json.loads(stage.rushes("get", waiting[0], "--json").stdout)
        shown = stage.rushes("queue", "show").stdout
        assert stage.sandbox.purchases() == {first: 1}

        resumed = stage.rushes("queue", "resume")
        assert {stage.ended(job_id).state for job_id in waiting} == {State.COMPLETED}

    assert "Buying is paused" in paused.stdout
    assert (view["status"], "the budget is used up" in view["waiting"]) == ("queued", True)
    assert "3 jobs wait in the queue" in shown
    assert "Buying goes on" in resumed.stdout
    assert "not paused" in stage.rushes("queue", "show").stdout
