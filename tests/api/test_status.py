"""`/v1/status`: at a glance, to each key what concerns it."""

from jobs.ledger import Ledger
from jobs.states import State
from producer.keys import Keys, Scope
from tests.api.conftest import Api
from tests.api.test_keys import access, holder, keyed, keyed_process  # noqa: F401 (fixtures)


def test_the_operator_sees_everything(api: Api, real_ledger: Ledger) -> None:
    """The same that `rushes status --json` prints."""
    api.submit()
    real_ledger.worker_seen("one@test.1", "1.0")

    status = api.get("/v1/status").json()

    assert (status["object"], status["tenant"], status["states"]["queued"]) == ("status", None, 1)
    assert status["tenants"] == [{"tenant": None, "states": {"queued": 1}}]
    assert [(worker["worker"], worker["version"]) for worker in status["workers"]] == [("one@test.1", "1.0")]
    assert set(status["states"]) == {state.value for state in State}


def test_a_tenants_key_sees_its_own_and_an_administrators_all(keyed: Api, access: Keys) -> None:  # noqa: F811 (fixtures)
    """A tenant learns nothing of others, nor of the machines."""
    holder(keyed, access, "film").submit()
    shop = holder(keyed, access, "shop")
    shop.submit()

    own = shop.get("/v1/status").json()
    everything = holder(keyed, access, "ops", Scope.READ, Scope.ADMIN).get("/v1/status").json()

    assert (own["tenant"], own["states"]["queued"], own["tenants"], own["workers"]) == ("shop", 1, None, None)
    assert (everything["tenant"], everything["states"]["queued"]) == (None, 2)
    assert [tenant["tenant"] for tenant in everything["tenants"]] == ["film", "shop"]
    assert holder(keyed, access, "shop", Scope.SUBMIT).get("/v1/status").status_code == 403
