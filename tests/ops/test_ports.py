"""The ports of `rushes up` are kept over restarts; one that another program uses is replaced and reported."""

import json
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from config.settings import Settings
from ops.stack.ports import FILE, SavedPorts
from ops.stack.recipe import free_port, make_plan
from producer.cli.exits import Exit
from tests.ops.machines import Machine, addresses
from tests.receivers import WebhookServer
from tests.stage import eventually


@contextmanager
def listening(port: int) -> Iterator[None]:
    """Listen on the port, as another program."""
    with socket.create_server(("127.0.0.1", port)):
        yield


def saved(folder: Path, notes: list[str] | None = None) -> SavedPorts:
    """Read the ports of a stack as at its next start."""
    return SavedPorts(folder, on_note=(notes if notes is not None else []).append)


def test_a_port_is_the_same_at_the_next_start(tmp_path: Path) -> None:
    """Each part has its port."""
    first = saved(tmp_path)
    chosen = {part: first.choose(part) for part in ("valkey", "sandbox", "flower")}
    assert len(set(chosen.values())) == 3
    first.save()
    notes: list[str] = []
    second = saved(tmp_path, notes)
    assert {part: second.choose(part) for part in chosen} == chosen
    assert notes == []


def test_a_part_that_is_left_out_once_keeps_its_port(tmp_path: Path) -> None:
    """`rushes up` may run with the user's Redis once, and then again without."""
    first = saved(tmp_path)
    port = first.choose("valkey")
    first.save()
    second = saved(tmp_path)
    second.choose("sandbox")
    second.save()
    assert saved(tmp_path).choose("valkey") == port


def test_a_port_that_another_program_uses_is_replaced_reported_and_saved(tmp_path: Path) -> None:
    """The new port is kept from then on."""
    first = saved(tmp_path)
    occupied = first.choose("sandbox")
    first.save()
    notes: list[str] = []
    with listening(occupied):
        second = saved(tmp_path, notes)
        port = second.choose("sandbox")
        second.save()
    assert port != occupied
    assert len(notes) == 1
    assert f"{occupied} of sandbox" in notes[0]
    assert str(port) in notes[0]
    assert saved(tmp_path).choose("sandbox") == port


def test_the_users_port_wins_over_the_saved_one_and_that_over_the_usual_one(tmp_path: Path) -> None:
    """`RUSHES_API__PORT` is the user's choice, its default is not."""
    usual, wanted = free_port(), free_port()
    assert saved(tmp_path).choose("api", usual=usual) == usual
    with listening(usual):
        first = saved(tmp_path)
        kept = first.choose("api", usual=usual)
        first.save()
    assert saved(tmp_path).choose("api", usual=usual) == kept != usual
    assert saved(tmp_path).choose("api", wanted=wanted, usual=wanted) == wanted
    notes: list[str] = []
    with listening(wanted):
        assert saved(tmp_path, notes).choose("api", wanted=wanted, usual=wanted) == kept
    assert f"{wanted} of api" in notes[0]


def test_two_parts_never_share_a_port(tmp_path: Path) -> None:
    """This holds for wanted and saved ports."""
    port = free_port()
    both = saved(tmp_path)
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
    """A power cut may leave any content."""
    (tmp_path / FILE).write_bytes(text.encode("latin-1"))
    found = saved(tmp_path)
    port = found.choose("sandbox")
    found.save()
    assert json.loads((tmp_path / FILE).read_text()) == {"sandbox": port}
    assert port > 1024


@pytest.mark.long
@pytest.mark.timeout(180)
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_a_stack_keeps_its_ports_unless_another_program_uses_them(machine: Machine, end: signal.Signals) -> None:
    """All parts keep their ports, also after kill -9, while the old processes are still ending."""
    with machine.up() as stack:
        before = addresses(stack)
        stack.process.send_signal(end)
        stack.process.wait(90)
    machine.ports = {}  # from here on only the saved file has them
    with machine.up() as stack:
        assert addresses(stack) == before
        assert "is in use" not in stack.said()
        stack.ends_by(signal.SIGINT)
    eventually(machine.is_quiet, what="the end of every process")
    sandbox = int(before["RUSHES_UPSTREAM__BASE_URL"].rpartition(":")[2])
    with listening(sandbox), machine.up() as stack:
        now = addresses(stack)
        said = re.search(rf"port {sandbox} of sandbox is in use by another program; it listens on (\d+)", stack.said())
        assert said is not None
        assert now["RUSHES_UPSTREAM__BASE_URL"].endswith(said[1])
        assert now | {"RUSHES_UPSTREAM__BASE_URL": before["RUSHES_UPSTREAM__BASE_URL"]} == before


# -- webhooks to this machine ---------------------------------------------------------------------------------------


def environment(folder: Path, **groups: dict[str, object]) -> dict[str, str]:
    """Return the environment of a stack's children with these settings."""
    settings = Settings.model_validate({"state_dir": folder, **groups})
    plan = make_plan(settings, embedded=True, sandbox=True, time_scale=10, ports=saved(folder))
    return plan.environment()


def test_a_stack_can_call_receivers_on_this_machine_unless_the_user_chose_otherwise(tmp_path: Path) -> None:
    """Private addresses and the API's address are set, unless the user has set a public URL."""
    found = environment(tmp_path)
    assert found["RUSHES_WEBHOOKS__ALLOW_PRIVATE"] == "true"
    assert found["RUSHES_API__PUBLIC_URL"] == f"http://127.0.0.1:{found['RUSHES_API__PORT']}"
    for chosen in (True, False):
        assert "RUSHES_WEBHOOKS__ALLOW_PRIVATE" not in environment(tmp_path, webhooks={"allow_private": chosen})
    elsewhere = environment(tmp_path, api={"public_url": "https://videos.example"})
    assert not {"RUSHES_API__PUBLIC_URL", "RUSHES_WEBHOOKS__ALLOW_PRIVATE"} & set(elsewhere)


@pytest.mark.long
@pytest.mark.timeout(180)
def test_a_webhook_to_this_machine_arrives_with_a_link_that_serves_the_video(machine: Machine) -> None:
    """It needs no setting."""
    with WebhookServer.started() as receiver, machine.up() as stack:
        receiver.secret = machine.rushes("webhooks", "secret", "webhook_url").stdout.strip()
        ran = machine.rushes("submit", "--webhook-url", receiver.url, "a boat")
        assert ran.returncode == Exit.DONE, ran.stderr
        eventually(lambda: receiver.messages, what="the request to the receiver")
        link = receiver.messages[0].data["video"]["content_url"]
        assert link.startswith(f"http://127.0.0.1:{addresses(stack)['RUSHES_API__PORT']}/")
