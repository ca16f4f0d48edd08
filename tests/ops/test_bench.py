"""The bench in miniature: these tests check that it measures, not how fast anything is."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import requests

from ops.bench.bars import bars
from ops.bench.contender import names
from ops.bench.processes import Upstream, until
from ops.bench.report import BEGIN, END, markdown, write_into
from ops.bench.results import Results, Scenario
from tests.stage import ROOT

HALF: Final = {"rushes": 250.0, "arq_defer": 1000.0, "bare_asyncio": 200.0}


def made_up(**figures: float) -> Results:
    """Make a run with known figures."""
    results = Results({"cores": "2"}, quick=False)
    for name, cost in {**HALF, **figures}.items():
        results.contenders[name] = {"title": name, "versions": "1", "how": "", "limit": ""}
        for share in (0.9, 1.0, 1.1):
            row = {"scenario": "lives", "contender": name, "cpu_us_per_request": cost * share, "requests_per_s": 1.0}
            results.rows.append(row)
    return results


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_run_in_miniature_measures_rushes_beside_another(tmp_path: Path) -> None:
    """With real workers, server and upstream, every figure that a bar needs is measured."""
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\n{END}\nafter\n")
    wanted = "lives,flight,steady,burst,killed,accept,start"
    command = [sys.executable, "-m", "ops.bench", "--size", "miniature", "--rounds", "1", "--minutes", "0"]

    ran = subprocess.run(
        [*command, "--only", "rushes,seed_threads", "--scenarios", wanted, "--out", tmp_path, "--page", page],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
        cwd=ROOT,
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
    results = Results.read(tmp_path / "results.json")
    assert not [row for row in results.rows if "failed" in row]
    for name in ("rushes", "seed_threads"):
        (lives,) = results.of(Scenario.LIVES, name)
        assert (lives["finished"], lives["requests"]) == (10, 30), "ten jobs: one purchase and two polls each"
        assert lives["cpu_us_per_request"] > 0
    assert results.loads("rushes") == [10, 20]
    assert results.median("rss_bytes", Scenario.FLIGHT, "rushes", jobs=20)
    assert results.median("one_by_one_per_s", Scenario.ACCEPT, "rushes")
    assert results.median("cpu_ms_per_video", Scenario.STEADY, "rushes", jobs=2)
    assert results.median("told_s", Scenario.BURST, "rushes", jobs=5)
    assert results.median("all_s", Scenario.KILLED, "rushes", jobs=5)
    assert results.median("start_s", Scenario.START, "rushes")
    assert "**Rushes**" in page.read_text()


def test_a_contender_is_one_file() -> None:
    """There is no list: every file in the folder takes part."""
    folder = ROOT / "ops" / "bench" / "contenders"
    assert set(names()) == {file.stem for file in folder.glob("*.py")} - {"__init__"}


def test_the_upstream_counts_requests_and_lateness(tmp_path: Path) -> None:
    """Lateness is measured at the upstream, in the same way for all contenders."""
    with Upstream.started(tmp_path, core=None) as upstream:
        upstream.set(polls=2, interval_s=0)
        bought = requests.post(f"{upstream.url}/v2/video/generations", json={"model": "m"}, timeout=5).json()
        query = {"generation_id": bought["id"]}

        first, second = (
            requests.get(f"{upstream.url}/v2/video/generations", params=query, timeout=5).json() for _ in range(2)
        )
        film = requests.get(second["video"]["url"], timeout=5).content

        assert (first["status"], second["status"]) == ("generating", "completed")
        assert len(film) == second["video"]["file_size"]
        counters = upstream.counters()
        assert (counters["submits"], counters["polls"], counters["fetches"], counters["finished"]) == (1, 2, 1, 1)
        assert counters["poll_lateness_s"]["max"] >= 0


def test_some_polls_are_never_answered_on_demand(tmp_path: Path) -> None:
    """So the bench shows what a stuck upstream costs."""
    with Upstream.started(tmp_path, core=None) as upstream:
        upstream.set(hangs=2)
        bought = requests.post(f"{upstream.url}/v2/video/generations", json={"model": "m"}, timeout=5).json()

        def poll(timeout_s: float = 5.0) -> str:
            query = {"generation_id": bought["id"]}
            reply = requests.get(f"{upstream.url}/v2/video/generations", params=query, timeout=timeout_s)
            return str(reply.json()["status"])

        assert poll() == "generating"
        with pytest.raises(requests.Timeout):
            poll(timeout_s=0.5)
        assert poll() == "generating"
        assert upstream.counters()["polls"] == 3


def test_a_slow_trickle_of_bytes_is_one_request(tmp_path: Path) -> None:
    """Clients send head and body separately, so the upstream waits for the complete request."""
    import socket  # noqa: PLC0415

    with Upstream.started(tmp_path, core=None) as upstream:
        host, _, port = upstream.url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=5) as line:
            line.sendall(b"POST /v2/video/generations HTTP/1.1\r\nHost: x\r\nContent-Le")
            line.sendall(b"ngth: 2\r\n\r\n{")
            line.sendall(b"}")
            assert line.recv(4096).startswith(b"HTTP/1.1 200 OK")
        until(lambda: upstream.counters()["submits"] == 1, "the purchase", within_s=10)


def test_a_bar_is_met_or_not_by_the_figures_of_the_same_run() -> None:
    """The limits 0.6 x arq and 2.5 x bare loop use this run's arq and loop."""
    verdicts: dict[str, Any] = {bar.promise: bar.met for bar in bars(made_up())}
    cost = [met for promise, met in verdicts.items() if promise.startswith("CPU per request")]
    assert cost == [True, True]

    slow = [bar.met for bar in bars(made_up(rushes=700.0)) if bar.promise.startswith("CPU per request")]
    assert slow == [False, False]


def test_seconds_and_rates_are_also_scaled_to_the_reference_machine() -> None:
    """On a machine half as fast an import takes twice as long; the verdict uses the measured figure."""
    results = made_up(bare_asyncio=400.0)
    results.rows += [
        {"scenario": "import", "contender": "rushes", "import_s": 0.2},
        {"scenario": "accept", "contender": "rushes", "one_by_one_per_s": 1500.0},
    ]
    judged = {bar.promise.partition(" ")[0]: bar for bar in bars(results) if bar.met is not None}

    assert (judged["import"].figure, judged["import"].met) == ("200 ms (on the reference machine 100 ms)", False)
    assert (judged["accepting"].figure, judged["accepting"].met) == (
        "1,500.0 /s (on the reference machine 3,000.0 /s)",
        False,
    )


@pytest.mark.parametrize(("share", "met"), [(0.93, True), (0.5, False)])
def test_a_bottleneck_with_a_far_upstream_leaves_the_core_idle(share: float, *, met: bool) -> None:
    """Costs differ with a far upstream; an idle core shows a bottleneck."""
    results = made_up()
    results.rows += [
        {"scenario": "pair", "contender": "rushes", "workers": 1, "cpu_share": 0.95, "requests_per_s": 2000.0},
        {"scenario": "far_lives", "contender": "rushes", "cpu_share": share, "cpu_us_per_request": 500.0},
    ]
    assert [bar.met for bar in bars(results) if "use up the core" in bar.promise] == [met]


def test_a_trial_whose_jobs_were_not_all_bought_does_not_measure_polls() -> None:
    """Its CPU includes buying, so no bar uses it, and the page gives the number of jobs bought."""
    results = made_up()
    facts = {"scenario": "flight", "contender": "rushes", "latency_s": 0.0, "due_done": 0.4, "cpu_us_per_poll": 300.0}
    results.rows += [
        {**facts, "jobs": 1_000, "bought": 1_000, "rss_bytes": 1e8},
        {**facts, "jobs": 10_000, "bought": 10_000, "rss_bytes": 1.045e8},
        {**facts, "jobs": 50_000, "bought": 46_108, "rss_bytes": 9e8},
    ]
    judged = {bar.promise: bar for bar in bars(results)}

    assert judged["50,000 jobs in flight: it keeps up (98 % of due polls)"].met is None
    assert judged["the cost of a poll does not grow from 1,000 to 50,000"].met is None
    assert judged["worker memory per job in flight at most 1,024 B"].figure == "500 B"
    assert "50,000; 46,108 were bought in time" in markdown(results)


def test_a_bar_without_figures_is_neither_met_nor_missed() -> None:
    """A missing figure must not look like a success."""
    nothing = Results({"cores": "2"}, quick=True)
    assert {bar.met for bar in bars(nothing)} == {None}


@pytest.mark.parametrize(("cores", "met"), [("2", True), ("8", False)])
def test_a_second_worker_on_a_shared_core_is_judged_by_its_cpu(cores: str, met: bool) -> None:
    """Its rate depends on Redis and the upstream, which run on the same core."""
    rows = [{"workers": n, "requests_per_s": 1000 * (1 + n / 10), "cpu_us_per_request": 390.0 + 10 * n} for n in (1, 2)]
    results = Results({"cores": cores}, quick=True)
    results.rows += [{"scenario": "pair", "contender": "rushes", **row} for row in rows]

    (pair,) = [bar for bar in bars(results) if bar.promise.startswith("two workers")]

    assert pair.met is met
    assert ("by CPU" in pair.figure) is (cores == "2")


def test_the_page_changes_between_its_markers_only(tmp_path: Path) -> None:
    """The text around the tables stays."""
    page = tmp_path / "page.md"
    page.write_text(f"words\n{BEGIN}\nold figures\n{END}\nmore words\n")

    write_into(page, made_up())

    text = page.read_text()
    assert text.startswith("words\n")
    assert text.endswith("more words\n")
    assert "old figures" not in text
    assert "250 (225 to 275)" in text, "the median, with the extremes of the rounds"


def test_a_page_without_a_place_for_the_tables_is_left_alone(tmp_path: Path) -> None:
    """No table is better than one in the wrong place."""
    page = tmp_path / "page.md"
    page.write_text("words")
    with pytest.raises(ValueError, match="no place for the tables"):
        write_into(page, made_up())
    assert page.read_text() == "words"


def test_a_failed_trial_is_reported_without_a_figure() -> None:
    """A contender that fails must stay on the page."""
    results = made_up()
    results.rows.append({"scenario": "lives", "contender": "rushes", "failed": "it ended"})

    assert "- rushes, lives: it ended" in markdown(results)
    assert results.median("cpu_us_per_request", Scenario.LIVES, "rushes") == pytest.approx(250)


def test_a_busy_machine_is_reported_on_the_page() -> None:
    """Other load distorts rates and lateness."""
    results = made_up()
    assert "not a quiet machine" not in markdown(results)

    results.rows[0]["disturbed"] = 0.4

    assert "Other processes used up to 40% of the worker's core: not a quiet machine." in markdown(results)


def test_results_survive_their_file(tmp_path: Path) -> None:
    """Tables and plots can be made from the JSON at any time."""
    results = made_up()
    results.write(tmp_path / "results.json")
    assert Results.read(tmp_path / "results.json") == results
    assert json.loads((tmp_path / "results.json").read_text())["machine"] == {"cores": "2"}


@pytest.mark.long
@pytest.mark.timeout(120)
def test_the_parts_of_a_life_are_measured_alone() -> None:
    """The overhead of a process is the difference to the sum of its parts."""
    command = [sys.executable, "-m", "ops.bench.parts", "--jobs", "100"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=100).stdout

    costs = [float(line.split("|")[2].replace(",", "")) for line in printed.splitlines()[2:]]
    assert len(costs) == 7
    assert all(cost > 0 for cost in costs)


@pytest.mark.long
@pytest.mark.timeout(120)
def test_a_neighbour_is_measured_beside_an_attack() -> None:
    """With a real API and attacker; whether the bar is met, a busy machine may decide."""
    command = [sys.executable, "-m", "ops.bench.hostile", "--seconds", "1", "--rounds", "1", "--only", "deep,full"]

    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=110, cwd=ROOT)

    rows = [line.split(" | ") for line in ran.stdout.splitlines()[2:]]
    assert [(row[0], row[-1]) for row in rows] == [
        ("| JSON nested 900 deep, 8 at once", "0 |"),
        ("| Redis is full: no creates", "0 |"),
    ], ran.stderr
    assert [figure.endswith(" ms") for figure in rows[0][1:-1]] == [True, True, False] * 2
