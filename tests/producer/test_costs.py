"""What requests will probably cost, and what each action says that it costs."""

from typing import Any

import pytest

from jobs.job import Charged, Terms, VideoRequest
from jobs.ledger import Ledger
from jobs.states import State
from producer.costs import Prices, erase_costs, estimated, retry_costs
from tests import steps
from tests.stage import a_request

MODEL = "google/veo3"


def bought(ledger: Ledger, *purchases: tuple[dict[str, Any], float]) -> Prices:
    """The prices after these purchases, the newest last."""
    for parameters, usd in purchases:
        job_id = ledger.accept(a_request("a boat", **parameters)).job_id
        steps.walked(ledger, job_id, State.RENDERING, cost_usd=usd)
    return Prices.of(ledger.purchases(limit=9))


@pytest.mark.parametrize(
    ("asked", "usd"),
    [
        ({}, 4.0),  # the default is 8 s
        ({"duration": 8, "resolution": "720p"}, 4.0),
        ({"duration": 4}, 2.0),
        ({"generate_audio": False}, 3.0),
        ({"resolution": "1080P"}, None),
    ],
)
def test_a_price_is_that_of_the_newest_purchase_like_it(ledger: Ledger, asked: dict[str, Any], usd: float) -> None:
    """Of the same model, resolution and sound, by its length."""
    prices = bought(ledger, ({}, 9.0), ({"duration": 4, "generate_audio": False}, 1.5), ({"duration": 6}, 3.0))

    assert prices.estimate(VideoRequest(MODEL, "a plane", asked)) == usd


def test_of_a_model_without_a_length_the_price_is_the_last_one() -> None:
    """Nothing is divided by what is not known."""
    request = VideoRequest("vendor/other", "a boat")

    assert Prices({}).estimate(request) is None
    assert Prices({("vendor/other", "none", "none"): (2.0, None)}).estimate(request) == 2.0


@pytest.mark.parametrize("odd", [[8], {"a": [1]}, "eight", "nan", "inf", 0, -8, 10**400, True])
def test_what_a_strangers_model_takes_is_no_length(ledger: Ledger, odd: object) -> None:
    """Its price is the last one; whatever stands for sound or resolution is compared as text."""
    asked = {"duration": odd, "resolution": odd, "generate_audio": odd}
    job_id = ledger.accept(VideoRequest("vendor/other", "a boat", asked)).job_id
    steps.walked(ledger, job_id, State.RENDERING, cost_usd=2.0)

    assert Prices.of(ledger.purchases(limit=9)).estimate(VideoRequest("vendor/other", "a boat", asked)) == 2.0


def test_prices_are_learnt_from_a_tenants_purchases_or_from_all(ledger: Ledger) -> None:
    """Newest first; a job that was not bought, or failed, teaches nothing."""
    for tenant, usd, state in (
        ("shop", 4.0, State.COMPLETED),
        ("other", 2.0, State.STORING),
        ("shop", 1.0, State.FAILED),
    ):
        job_id = ledger.accept(a_request(tenant), Terms(tenant=tenant)).job_id
        steps.walked(ledger, job_id, state, cost_usd=usd)
    steps.job_in(ledger, State.QUEUED)

    assert [(usd, request.prompt) for usd, request in ledger.purchases(limit=9)] == [(2.0, "other"), (4.0, "shop")]
    assert [usd for usd, _ in ledger.purchases(tenant="shop", limit=9)] == [4.0]
    assert ledger.purchases(limit=1) == ledger.purchases(limit=9)[:1]


def test_a_sum_says_what_it_leaves_out(ledger: Ledger) -> None:
    """A price that is not known is no zero."""
    prices = bought(ledger, ({"duration": 8}, 4.0))
    known, unknown = VideoRequest(MODEL, "a boat"), VideoRequest("vendor/other", "a boat")

    assert estimated(prices, [known]) == "About 4.00 USD, as the newest purchases like it cost."
    assert estimated(prices, [known, known, unknown]) == (
        "About 8.00 USD, as the newest purchases like them cost; the price of 1 more is not known."
    )
    assert estimated(prices, [unknown]) == "The price is not known before the first one like it is bought."


def test_a_retry_says_what_another_generation_costs(ledger: Ledger) -> None:
    """Also if the first one was not charged."""
    job = steps.walked(ledger, ledger.accept(a_request()).job_id, State.FAILED)

    assert "a retry buys another one; the first one was 3.36 USD." in retry_costs(job)
    free = job.model_copy(update={"charged": Charged.NO})
    assert "a retry buys another one, for about 3.36 USD; the first cost nothing." in retry_costs(free)
    assert erase_costs(job).startswith(f"{job.id} loses its prompt")
