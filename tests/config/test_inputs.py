"""Inputs: large parameters are in the archive, for as long as somebody may need them, within each tenant's bytes."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
import redis

from config.inputs import LARGE_BYTES, Inputs, is_heavy
from config.store import FolderStore, NotThere
from jobs.errors import InputNotKept, InputsFull, InvalidRequest
from jobs.inputs import CHECK_S, FORGET_S, ORPHAN_S, InputIndex
from jobs.job import Terms, VideoRequest
from jobs.ledger import Ledger, new_job_id
from jobs.row import fingerprint_of, serialized
from jobs.scripts import Retention, Scripts
from jobs.states import State
from tests import steps
from tests.stage import Clock

PICTURE: Final = "data:image/png;base64," + "iVBORw0KGgo" * 4000
LARGE: Final = VideoRequest("somebody/else", "a boat", {"image_url": PICTURE, "seed": 1, "a": [1.5, None]}, {"l": "x"})
BYTES: Final = len(json.dumps(LARGE.parameters, separators=(",", ":")))
Opened = Callable[..., Inputs]
DATA: Final = serialized(LARGE.parameters)


@pytest.fixture
def opened(client: "redis.Redis", clock: Clock, tmp_path: Path) -> Opened:
    """Open the inputs of an archive's folder."""
    scripts = Scripts(client, retention=Retention(), clock=clock, subscribers=())

    def opened(folder: str = "archive", most_bytes: int = 10 * BYTES) -> Inputs:
        return Inputs(FolderStore(tmp_path / folder), InputIndex(scripts), most_bytes=most_bytes)

    return opened


@pytest.fixture
def inputs(opened: Opened) -> Inputs:
    """The deployment's inputs."""
    return opened()


def files(tmp_path: Path) -> list[str]:
    """List the inputs in the archive."""
    return [path.name for path in (tmp_path / "archive" / "inputs").iterdir() if path.name != "archive"]


def accepted(inputs: Inputs, ledger: Ledger, **terms: str) -> str:
    """Submit a large request."""
    return ledger.accept(*inputs.keep(LARGE, Terms(**terms), DATA)).job_id  # type: ignore[arg-type]  # of texts only


def test_the_upstream_gets_what_it_was_given(inputs: Inputs, ledger: Ledger) -> None:
    """Every parameter, with its value and place."""
    job_id = accepted(inputs, ledger)

    whole = inputs.whole(ledger.request(job_id))

    before = ledger.request(ledger.accept(LARGE).job_id)
    assert json.dumps(whole.body()) == json.dumps(before.body())
    assert whole == before


def test_redis_holds_the_short_form(inputs: Inputs, ledger: Ledger, client: "redis.Redis") -> None:
    """A picture's size and checksum, not its bytes."""
    job_id = accepted(inputs, ledger)

    assert len(str(client.get(f"rushes:request:{job_id}"))) < 1000
    assert ledger.request(job_id).parameters["seed"] == 1


def test_a_small_request_stays_as_it_is(inputs: Inputs, tmp_path: Path) -> None:
    """No file, and no round trip."""
    small = VideoRequest("somebody/else", "a boat", {"image_url": "x" * (LARGE_BYTES // 2)})

    assert inputs.keep(small, Terms(), serialized(small.parameters)) == (small, Terms())
    assert not (tmp_path / "archive").exists()


def test_equal_requests_have_equal_fingerprints(inputs: Inputs) -> None:
    """However each input is named; another picture makes another request."""
    first, second = (inputs.keep(LARGE, Terms(), DATA)[0] for _ in range(2))
    other = replace(LARGE, parameters={**LARGE.parameters, "image_url": PICTURE + "A"})

    assert fingerprint_of(first) == fingerprint_of(second) == fingerprint_of(LARGE)
    assert fingerprint_of(inputs.keep(other, Terms(), serialized(other.parameters))[0]) != fingerprint_of(LARGE)


def test_one_tenants_bytes_are_bounded_and_come_back(opened: Opened, ledger: Ledger, tmp_path: Path) -> None:
    """The message says how many are used, and of how many; others have their own."""
    inputs = opened(most_bytes=2 * BYTES)
    first = accepted(inputs, ledger, tenant="shop")
    accepted(inputs, ledger, tenant="shop")

    with pytest.raises(InputsFull, match=f"{2 * BYTES} of {2 * BYTES} bytes are used, and this request needs {BYTES}"):
        inputs.keep(LARGE, Terms(tenant="shop"), DATA)
    accepted(inputs, ledger, tenant="studio")
    assert len(files(tmp_path)) == 3

    kept = ledger.request(first).input
    assert kept is not None
    inputs.discard(kept.name)
    inputs.discard(kept.name)
    accepted(inputs, ledger, tenant="shop")
    with pytest.raises(InputsFull):
        inputs.keep(LARGE, Terms(tenant="shop"), DATA)


def test_a_key_that_has_its_job_is_answered_without_room(opened: Opened, ledger: Ledger, tmp_path: Path) -> None:
    """Its first answer was lost: the repeat is the same job, and keeps nothing."""
    inputs = opened(most_bytes=BYTES)
    first = accepted(inputs, ledger, tenant="shop", idempotency_key="k")

    assert accepted(inputs, ledger, tenant="shop", idempotency_key="k") == first
    assert len(files(tmp_path)) == 1


@pytest.mark.parametrize("state", list(State))
def test_the_sweep_removes_what_no_job_needs(
    inputs: Inputs, ledger: Ledger, clock: Clock, tmp_path: Path, state: State
) -> None:
    """A job that has its video will never be bought again; any other may be, by a retry."""
    job_id = accepted(inputs, ledger)
    steps.walked(ledger, job_id, state)
    clock.advance(CHECK_S)

    inputs.sweep()

    assert len(files(tmp_path)) == (0 if state is State.COMPLETED else 1)


def test_the_sweep_removes_what_was_never_accepted(inputs: Inputs, clock: Clock, tmp_path: Path) -> None:
    """Its producer died in between; one that is slow keeps its input."""
    inputs.keep(LARGE, Terms(), DATA)
    clock.advance(CHECK_S)
    inputs.sweep()
    assert files(tmp_path)

    clock.advance(ORPHAN_S)
    inputs.sweep()
    assert not files(tmp_path)


def test_the_sweep_finds_every_input_of_many(inputs: Inputs, clock: Clock, tmp_path: Path) -> None:
    """More than it looks at in one round trip."""
    for number in range(150):
        inputs.keep(LARGE, Terms(tenant=str(number)), DATA)
    clock.advance(ORPHAN_S + CHECK_S)

    inputs.sweep()

    assert not files(tmp_path)


def test_a_forgotten_or_erased_jobs_input_goes(
    inputs: Inputs, ledger: Ledger, client: "redis.Redis", clock: Clock, tmp_path: Path
) -> None:
    """Also if the process that erased it died before it removed the file."""
    erased, forgotten = accepted(inputs, ledger), accepted(inputs, ledger)
    for job_id in (erased, forgotten):
        steps.walked(ledger, job_id, State.CANCELLED)
    ledger.erase(ledger.get(erased))
    client.delete(f"rushes:job:{forgotten}")
    clock.advance(ORPHAN_S)

    inputs.sweep()

    assert not files(tmp_path)
    assert [key for key in client.keys("rushes:inputs*") if key != "rushes:inputs:archives"] == []


def test_a_retry_takes_the_input_over(inputs: Inputs, ledger: Ledger, clock: Clock, tmp_path: Path) -> None:
    """The first job may then be erased or forgotten."""
    first = steps.walked(ledger, accepted(inputs, ledger), State.FAILED)
    kept = ledger.request(first.id).input
    assert kept is not None
    again = ledger.retry(first, job_id=new_job_id(), go_on=False, input_name=kept.name).job_id
    ledger.erase(ledger.get(first.id))
    clock.advance(ORPHAN_S)

    inputs.sweep()

    assert inputs.whole(ledger.request(again)).parameters["image_url"] == PICTURE
    steps.walked(ledger, again, State.COMPLETED)
    clock.advance(CHECK_S)
    inputs.sweep()
    assert not files(tmp_path)


@pytest.mark.parametrize("harm", ["removed", "changed"])
def test_other_bytes_than_those_given_are_never_bought(
    inputs: Inputs, ledger: Ledger, tmp_path: Path, harm: str
) -> None:
    """The archive may lose a file, or somebody may write another."""
    request = ledger.request(accepted(inputs, ledger))
    file = tmp_path / "archive" / "inputs" / files(tmp_path)[0]
    if harm == "removed":
        file.unlink()
    else:
        file.write_text(file.read_text().replace("1.5", "2.5"))

    with pytest.raises(NotThere):
        inputs.whole(request)


def test_workers_with_another_archive_refuse_large_requests(opened: Opened, clock: Clock, tmp_path: Path) -> None:
    """They could never buy them; once they are gone, or share it, all goes on."""
    inputs, elsewhere = opened(), opened("elsewhere")
    (tmp_path / "elsewhere").mkdir()
    elsewhere.sweep()

    with pytest.raises(InvalidRequest, match="an archive that is shared with all workers"):
        inputs.keep(LARGE, Terms(), DATA)
    assert not files(tmp_path)

    clock.advance(FORGET_S + 1)
    assert inputs.keep(LARGE, Terms(), DATA)[0].input
    inputs.sweep()
    assert inputs.keep(LARGE, Terms(), DATA)[0].input


def test_an_archive_that_cannot_be_written_takes_no_request(opened: Opened, tmp_path: Path) -> None:
    """Nothing is accepted that could not be bought, and what could not be written takes no room."""
    inputs = opened(most_bytes=BYTES)
    inputs.keep(LARGE, Terms(tenant="another"), DATA)
    (tmp_path / "archive" / ".partial").rmdir()
    (tmp_path / "archive" / ".partial").touch()
    with pytest.raises(InputNotKept, match="cannot keep the request's pictures"):
        inputs.keep(LARGE, Terms(), DATA)

    (tmp_path / "archive" / ".partial").unlink()
    assert inputs.keep(LARGE, Terms(), DATA)[0].input


def test_nobody_can_guess_an_inputs_name(inputs: Inputs, ledger: Ledger, tmp_path: Path) -> None:
    """A bucket may be public, and job ids are known to many."""
    job_id = accepted(inputs, ledger)

    (name,) = files(tmp_path)
    assert len(name) == 32
    assert job_id not in name


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"image_url": "x" * LARGE_BYTES}, True),
        ({"a": [{"b": "x" * LARGE_BYTES}]}, True),
        ({"a": [0] * 100_000}, True),
        ({"seed": 1, "negative_prompt": "x" * 2000}, False),
    ],
)
def test_what_may_be_large_is_known_at_a_glance(parameters: dict[str, object], expected: bool) -> None:
    """The event loop asks before it serializes anything."""
    assert is_heavy(parameters) is expected
