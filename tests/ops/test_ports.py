"""The ports of `rushes up` outlive a restart; what another program took meanwhile is replaced, and said."""

import json
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from config.settings import Settings
from ops.stack.ports import FILE, PortBook
from ops.stack.recipe import free_port, make_plan
from producer.cli.exits import Exit
from tests.ops.machines import Machine, addresses
from tests.receivers import WebhookServer
from tests.stage import eventually


@contextmanager
def listening(port: int) -> Iterator[None]:
    """Another program has the port."""
    with socket.create_server(("127.0.0.1", port)):
        yield


def book(folder: Path, notes: list[str] | None = None) -> PortBook:
    """A stack's ports as the next start finds them."""
    return PortBook(folder, on_note=(notes if notes is not None else []).append)


def test_a_port_is_the_same_at_the_next_start(tmp_path: Path) -> None:
    """Each part has its own."""
    first = book(tmp_path)
    chosen = {part: first.choose(part) for part in ("valkey", "sandbox", "flower")}
    assert len(set(chosen.values())) == 3
    first.keep()
    notes: list[str] = []
    second = book(tmp_path, notes)
    assert {part: second.choose(part) for part in chosen} == chosen
    assert notes == []


def test_a_part_that_is_left_out_once_keeps_its_port(tmp_path: Path) -> None:
    """`rushes up` with a Redis of the user's own, and then again without."""
    first = book(tmp_path)
    port = first.choose("valkey")
    first.keep()
    second = book(tmp_path)
    second.choose("sandbox")
    second.keep()
    assert book(tmp_path).choose("valkey") == port


def test_a_port_that_another_program_took_is_replaced_said_and_remembered(tmp_path: Path) -> None:
    """The new one is where clients find it from then on."""
    first = book(tmp_path)
    taken = first.choose("sandbox")
    first.keep()
    notes: list[str] = []
    with listening(taken):
        second = book(tmp_path, notes)
        port = second.choose("sandbox")
        second.keep()
    assert port != taken
    assert len(notes) == 1
    assert f"{taken} of sandbox" in notes[0]
    assert str(port) in notes[0]
    assert book(tmp_path).choose("sandbox") == port


def test_a_port_of_the_user_s_own_outranks_the_remembered_one_and_that_the_usual_one(tmp_path: Path) -> None:
    """`RUSHES_API__PORT` is a wish; the default is none."""
    usual, wanted = free_port(), free_port()
    assert book(tmp_path).choose("api", usual=usual) == usual
    with listening(usual):
        first = book(tmp_path)
        remembered = first.choose("api", usual=usual)
        first.keep()
    assert book(tmp_path).choose("api", usual=usual) == remembered != usual
    assert book(tmp_path).choose("api", wanted=wanted, usual=wanted) == wanted
    notes: list[str] = []
    with listening(wanted):
        assert book(tmp_path, notes).choose("api", wanted=wanted, usual=wanted) == remembered
    assert f"{wanted} of api" in notes[0]


def test_two_parts_never_share_a_port(tmp_path: Path) -> None:
    """Whatever is wished or remembered."""
    port = free_port()
    both = book(tmp_path)
    assert both.choose("api", wanted=port) == port
    assert both.choose("flower", wanted=port) != port


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"sandbox": "x"}',
        '{"sandbox": 0}',
        '{"sandbox": 70000}',
        '{"sandbox": true}',
        "\xff\x00",
    ],
)
def test_a_file_that_cannot_be_read_is_replaced(tmp_path: Path, text: str) -> None:
    """A power cut may have left anything."""
    (tmp_path / FILE).write_bytes(text.encode("latin-1"))
    found = book(tmp_path)
    port = found.choose("sandbox")
    found.keep()
    assert json.loads((tmp_path / FILE).read_text()) == {"sandbox": port}
    assert port > 1024


@pytest.mark.timeout(180)
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_a_stack_listens_where_it_did_before_and_takes_others_only_if_it_must(
    machine: Machine, end: signal.Signals
) -> None:
    """Valkey, sandbox, Flower and API; also after kill -9, when the old processes still end as the next one starts."""
    with machine.up() as stack:
        before = addresses(stack)
        stack.process.send_signal(end)
        stack.process.wait(90)
    machine.ports = {}  # from here on only memory knows them
    with machine.up() as stack:
        assert addresses(stack) == before
        assert "is taken" not in stack.said()
        stack.ends_by(signal.SIGINT)
    eventually(machine.is_quiet, what="the end of every process")
    sandbox = int(before["RUSHES_UPSTREAM__BASE_URL"].rpartition(":")[2])
    with listening(sandbox), machine.up() as stack:
        now = addresses(stack)
        said = re.search(rf"port {sandbox} of sandbox is taken by another program; it listens on (\d+)", stack.said())
        assert said is not None
        assert now["RUSHES_UPSTREAM__BASE_URL"].endswith(said[1])
        assert now | {"RUSHES_UPSTREAM__BASE_URL": before["RUSHES_UPSTREAM__BASE_URL"]} == before


# -- webhooks to this machine ---------------------------------------------------------------------------------------


def environment(folder: Path, **groups: dict[str, object]) -> dict[str, str]:
    """What the children of a stack with these settings are told."""
    settings = Settings.model_validate({"state_dir": folder, **groups})
    plan = make_plan(settings, embedded=True, sandbox=True, time_scale=10, ports=book(folder))
    return plan.environment()


def test_a_stack_can_call_receivers_on_this_machine_unless_the_user_chose_otherwise(tmp_path: Path) -> None:
    """Private addresses and the API's own address; a user whose stack is reached from elsewhere decides about both."""
    found = environment(tmp_path)
    assert found["RUSHES_WEBHOOKS__ALLOW_PRIVATE"] == "true"
    assert found["RUSHES_API__PUBLIC_URL"] == f"http://127.0.0.1:{found['RUSHES_API__PORT']}"
    for chosen in (True, False):
        assert "RUSHES_WEBHOOKS__ALLOW_PRIVATE" not in environment(tmp_path, webhooks={"allow_private": chosen})
    elsewhere = environment(tmp_path, api={"public_url": "https://videos.example"})
    assert not {"RUSHES_API__PUBLIC_URL", "RUSHES_WEBHOOKS__ALLOW_PRIVATE"} & set(elsewhere)


@pytest.mark.timeout(180)
def test_a_webhook_to_this_machine_arrives_with_a_link_that_serves_the_video(machine: Machine) -> None:
    """Without a setting."""
    with WebhookServer.started() as receiver, machine.up() as stack:
        receiver.secret = machine.rushes("webhooks", "secret", "ordered").stdout.strip()
        ran = machine.rushes("submit", "--webhook-url", receiver.url, "a boat")
        assert ran.returncode == Exit.DONE, ran.stderr
        eventually(lambda: receiver.messages, what="the request to the receiver")
        link = receiver.messages[0].data["video"]["content_url"]
        assert link.startswith(f"http://127.0.0.1:{addresses(stack)['RUSHES_API__PORT']}/")
