"""How facts and events become labels, of which there must be few."""

from typing import get_args

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from config.webhook_endpoints import ReceiverKind, kind_of
from jobs.events import EVENTS, Event
from jobs.facts import Download, NoResult, NotBought, PollResult, Receipt
from jobs.job import Hold
from worker import metrics
from worker.histogram import BatchHistogram
from worker.upstream.wire import LogPage


def value(name: str, **labels: str) -> float:
    """The value of a series now."""
    return metrics.REGISTRY.get_sample_value(name, labels) or 0.0


def test_every_fact_has_a_word() -> None:
    """A fact without one would break the request that it is about."""
    facts = {*get_args(Receipt), *get_args(PollResult), *get_args(Download), LogPage} - {NotBought, NoResult}
    assert set(metrics._WORDS) == facts


@pytest.mark.parametrize("fact", [NotBought(Hold.BAD_KEY, "401"), NoResult(Hold.BAD_KEY, "401")])
def test_a_request_without_a_result_is_named_for_its_hold(fact: NotBought | NoResult) -> None:
    """An alarm distinguishes a wrong key from an empty account by it."""
    assert metrics.word_of(fact) == "bad_key"
    assert metrics.word_of(NoResult(Hold.UNREACHABLE, "late", timed_out=True)) == "timed_out"


@pytest.mark.parametrize(
    ("receiver", "kind"),
    [
        ("shop:note", ReceiverKind.HOOK),
        ("sql", ReceiverKind.SQL),
        ("wh_01", ReceiverKind.WEBHOOK),
        ("url_abc", ReceiverKind.WEBHOOK),
    ],
)
def test_a_receiver_is_counted_by_its_kind(receiver: str, kind: ReceiverKind) -> None:
    """Endpoints come and go; each name would be a series for ever."""
    assert kind_of(receiver) is kind


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_has_a_series_from_the_start(event: str) -> None:
    """The rate of a counter that appears with its first event does not see that event."""
    assert metrics.REGISTRY.get_sample_value("rushes_events_total", {"event": event}) is not None


def test_money_is_counted_wherever_a_purchase_becomes_known() -> None:
    """By its receipt, or by a reconciliation; a cost that the upstream did not say is not counted."""
    before = value("rushes_bought_usd_total")
    for name, cost_usd in {"job.submitted": 3.0, "job.adopted": 2.0, "job.bought_twice": None}.items():
        metrics.count_event(Event(name, "job_1", 1, {"cost_usd": cost_usd}))
    metrics.count_event(Event("job.bought_late", "job_1", 1, {}))
    assert value("rushes_bought_usd_total") - before == 5.0


def test_a_batch_is_counted_as_its_values_one_by_one_would_be() -> None:
    """The same text as prometheus_client's own histogram, values on a bound included."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    batch = BatchHistogram("h", "Help.", ("of",), [("a",), ("b",)], buckets=(0.5, 1, 10), registry=ours)
    single = Histogram("h", "Help.", ("of",), buckets=(0.5, 1, 10), registry=theirs)
    single.labels("b")
    values = [0.1, 0.5, 0.50001, 1.0, 10.0, 11.0, 0.0]

    batch.observe(("a",), values[:3])
    batch.observe(("a",), values[3:])
    for value_ in values:
        single.labels("a").observe(value_)

    assert sorted(generate_latest(ours).splitlines()) == sorted(generate_latest(theirs).splitlines())


def test_the_highest_of_a_series_is_since_the_last_question() -> None:
    """A worker says at each sign of life how late its polls were since the one before."""
    batch = BatchHistogram("h", "Help.", ("of",), [("a",), ("b",)], buckets=(1,), registry=CollectorRegistry())
    batch.observe(("a",), [0.5, 2.0])
    batch.observe(("a",), [1.0])

    assert [batch.take_highest(("a",)), batch.take_highest(("b",)), batch.take_highest(("a",))] == [2.0, None, None]
