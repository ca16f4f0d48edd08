"""Endpoints: which address wants which events, kept without a secret."""

import threading
from typing import Any

import pytest
import redis

from config.webhook_endpoints import MOST_ORIGINS, MOST_ORIGINS_OF_A_TENANT, Endpoints, address_problem, origin_of
from jobs import events
from jobs.errors import UnknownEndpoint
from jobs.scripts import Retention, Scripts
from tests.stage import Clock

ENDS = ("job.expired", "job.fetched_late")


@pytest.fixture
def endpoints(client: "redis.Redis", clock: Clock) -> Endpoints:
    """The endpoints of a deployment that has none yet."""
    return Endpoints(Scripts(client, retention=Retention(), clock=clock, subscribers=()))


def test_an_endpoint_is_kept_until_it_is_removed(endpoints: Endpoints, clock: Clock) -> None:
    """Endpoints are listed in the order in which they were added."""
    first = endpoints.add("https://a.example/hook", events=["job.failed"], description="billing")
    second = endpoints.add("https://b.example/hook")
    assert endpoints.all() == [first, second]
    assert (endpoints.get(first.id), first.created_at) == (first, clock.now)

    endpoints.remove(first.id)
    assert endpoints.all() == [second]
    for act in (endpoints.get, endpoints.remove, endpoints.enable):
        with pytest.raises(UnknownEndpoint):
            act(first.id)


def test_it_receives_what_it_subscribes_to(endpoints: Endpoints) -> None:
    """A filter names events; none means every end; a disabled endpoint receives nothing."""
    everything, few = (
        endpoints.add("https://a.example"),
        endpoints.add("https://b.example", events=["job.fetched_late"]),
    )
    assert (everything.subscribed(ENDS), few.subscribed(ENDS)) == (ENDS, ("job.fetched_late",))
    assert (everything.subscription, few.subscription) == (events.ENDS, ("job.fetched_late",))

    assert endpoints.disable(few.id, "down for five days").subscribed(ENDS) == ()
    assert endpoints.get(few.id).disabled_why == "down for five days"
    assert endpoints.enable(few.id) == few


def test_an_endpoint_of_a_tenant_receives_no_others_events(endpoints: Endpoints) -> None:
    """It receives no jobs without a tenant either; an endpoint without a tenant receives all."""
    shops, everybodys = endpoints.add("https://a.example", tenant="shop"), endpoints.add("https://b.example")

    assert [shops.subscribed(ENDS, tenant) for tenant in ("shop", "gym", None)] == [ENDS, (), ()]
    assert [everybodys.subscribed(ENDS, tenant) for tenant in ("shop", "gym", None)] == [ENDS, ENDS, ENDS]
    assert endpoints.get(shops.id).tenant == "shop"


def test_after_a_rotation_two_secrets_are_valid_for_a_while(endpoints: Endpoints, clock: Clock) -> None:
    """Later only the new secret is valid."""
    endpoint = endpoints.add("https://a.example")
    assert endpoint.generations(clock.now) == (1,)
    rotated = endpoints.rotate(endpoint.id, keep_old_s=3600)
    assert rotated.generations(clock.now) == (2, 1)
    assert rotated.generations(clock.now + 3600) == (2,)


def test_no_change_is_lost_when_two_come_at_once(endpoints: Endpoints) -> None:
    """A worker disables it in the moment in which a person rotates its secret."""
    endpoint = endpoints.add("https://a.example")
    threads = [
        threading.Thread(target=endpoints.rotate, args=(endpoint.id,), kwargs={"keep_old_s": 1}) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert endpoints.get(endpoint.id).generation == 9


def test_addresses_of_one_server_share_its_slots_and_of_another_do_not() -> None:
    """One server's trouble delays no other; its paths and queries make no difference, its ports do."""
    same = ["https://a.example/x?token=1", "https://A.example:443/y", "https://a.example"]
    assert len({origin_of(url, None) for url in same}) == 1
    others = ["https://a.example", "http://a.example", "https://a.example:8443"]
    assert len({origin_of(url, None) for url in others}) == 3


def test_a_tenants_servers_are_its_own_receivers_and_bounded_in_number() -> None:
    """Names are free: each would hold a thread of all tenants' deliveries, and one tenant's failures another's."""
    urls = [f"https://{number}.example" for number in range(5000)]
    assert len({origin_of(url, "attacker") for url in urls}) == MOST_ORIGINS_OF_A_TENANT
    assert len({origin_of(url, None) for url in urls}) <= MOST_ORIGINS
    assert len({origin_of("https://hooks.example", tenant) for tenant in ("attacker", "shop", None)}) == 3


@pytest.mark.parametrize(
    "url",
    [
        "",
        None,
        5,
        "ftp://a.example",
        "https://",
        "//a.example",
        "https://user:password@a.example",
        "https://a.example/a b",
        "https://a.example/\n",
        "https://bücher.example",
        "https://a.example:99999",
        "https://[::1",
        "https://a.example/" + "x" * 2048,
    ],
)
def test_an_address_that_cannot_be_called_is_refused_when_it_is_given(url: Any) -> None:
    """Else the refusal would come days later, at the end of a paid job."""
    assert address_problem(url)


@pytest.mark.parametrize("url", ["https://a.example", "http://10.0.0.1:8080/hook?x=y#z", "HTTPS://a.example/%20"])
def test_any_other_is_accepted(url: str) -> None:
    """The connection decides later whether it may be called."""
    assert address_problem(url) is None
