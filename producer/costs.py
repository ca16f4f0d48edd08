"""The sentences that say what an action costs, the same on the command line and on the page."""

from jobs.job import Charged, Job
from jobs.moves.request import Retry, on_retry
from jobs.states import State
from producer.service import Cancelled


def cancel_costs(job: Job, *, keeps: bool) -> str:
    """Say what a cancel of an unfinished job saves; `keeps`: the video of a cancelled job is fetched."""
    if job.state is State.QUEUED:
        unsure = "whether its earlier purchase happened is not known, and nothing more is bought."
        return f"{job.id} waits to be bought: {unsure if job.doubts else 'cancelling it is free.'}"
    rest = "its video is fetched all the same" if keeps else "its video is not fetched"
    return f"{job.id} {_bought(job)}; the upstream refunds nothing, and {rest}."


def retry_costs(job: Job) -> str:
    """Say what a retry of an ended job without a video costs."""
    if on_retry(job, pay_again=False) is Retry.GO_ON:
        return f"{job.id} was bought and may still be fetched: a retry goes on with its generation and costs nothing."
    before = f"the first one was {price(job)}" if job.charged is not Charged.NO else "the first cost nothing"
    return f"{job.id} has no generation left to fetch: a retry buys another one; {before}."


def _bought(job: Job) -> str:
    if job.state in {State.SUBMITTING, State.IN_DOUBT}:
        return "may already be bought"
    return f"is already bought, at {price(job)}"


def price(job: Job) -> str:
    """Name the price, if it is known."""
    return "an unknown price" if job.cost_usd is None else f"{job.cost_usd:.2f} USD"


def cancelled(answer: Cancelled) -> str:
    """Say what a cancel has done."""
    job = answer.job
    if answer.move is None:
        return f"{job.id} is already {job.state}; there is nothing to cancel."
    if answer.is_pending:
        return f"{job.id} is being bought now. It is cancelled as soon as the outcome is known."
    if job.charged is Charged.NO:
        return f"{job.id} is cancelled. Nothing was bought."
    if job.charged is Charged.UNKNOWN:
        return f"{job.id} is cancelled. Whether its earlier purchase happened is not known."
    return f"{job.id} is cancelled, but was already bought, at {price(job)}; the upstream refunds nothing."
