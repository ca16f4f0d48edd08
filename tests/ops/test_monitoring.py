"""Alarms: Prometheus accepts the rules, each fires for its trouble, and each says what to do."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from ops.monitoring.watched import in_a_hurry
from tests.monitoring import checked, known_metrics, metrics_in, prometheus, promtool
from tests.stage import ROOT

MONITORING: Final = ROOT / "ops/monitoring"
ALARMS: Final = (MONITORING / "alarms.yml").read_text()
NAMES: Final = re.findall(r"- alert: (\w+)", ALARMS)
RUNBOOK: Final = (ROOT / "docs/how-to/alarms.md").read_text()
BOARDS: Final = sorted((MONITORING / "grafana").glob("*.json"))
SCALED: Final = (MONITORING / "keda/scaledobject.yml").read_text()
NOT_SHOWN: Final = {"rushes_api_subscribers"}
PARTS: Final = ("- **Means:**", "- **Look at:**", "- **Type:**", "- **Until morning?**")


def expressions(board: Path) -> list[str]:
    """List the expressions of a dashboard."""
    return [target["expr"] for panel in json.loads(board.read_text())["panels"] for target in panel["targets"]]


@promtool
def test_prometheus_accepts_rules_and_configuration() -> None:
    """A rule that does not parse would stop Prometheus from starting."""
    assert checked("check", "rules", str(MONITORING / "alarms.yml")) == ""
    assert checked("check", "config", "--syntax-only", str(MONITORING / "prometheus.yml")) == ""


@promtool
def test_each_alarm_fires_for_its_trouble_alone_and_falls_silent() -> None:
    """By made-up series, with the real durations."""
    assert checked("test", "rules", str(MONITORING / "alarms.test.yml")) == ""


def test_each_alarm_has_such_a_test() -> None:
    """One that was never seen firing may never fire."""
    assert {*re.findall(r'alertname="(\w+)"', (MONITORING / "alarms.test.yml").read_text())} == {*NAMES}


def test_each_alarm_has_its_entry_in_the_runbook_and_each_entry_its_alarm() -> None:
    """In the same order, so that a reader finds it."""
    assert re.findall(r"^## (\w+)$", RUNBOOK, re.MULTILINE) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_says_what_it_means_what_to_look_at_what_to_type_and_whether_it_can_wait(name: str) -> None:
    """At three in the morning."""
    entry = RUNBOOK.partition(f"## {name}\n")[2].partition("\n## ")[0]
    assert [entry.count(part) for part in PARTS] == [1, 1, 1, 1]


@promtool
def test_the_drills_rules_are_rules(tmp_path: Path) -> None:
    """With durations of seconds, and every alarm in them."""
    (tmp_path / "alarms.yml").write_text(in_a_hurry(ALARMS, archive_bytes=1))
    assert checked("check", "rules", str(tmp_path / "alarms.yml")) == ""


@pytest.mark.parametrize("board", BOARDS, ids=lambda path: path.stem)
def test_a_dashboards_panels_are_told_apart_and_do_not_overlap(board: Path) -> None:
    """Grafana would draw one over the other."""
    panels = json.loads(board.read_text())["panels"]
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    for field in ("id", "title"):
        assert len({panel[field] for panel in panels}) == len(panels)
    assert all(panel["description"].endswith(".") for panel in panels)
    assert all(target["datasource"]["uid"] == "${datasource}" for panel in panels for target in panel["targets"])


@pytest.mark.parametrize("board", BOARDS, ids=lambda path: path.stem)
def test_a_dashboard_uses_only_metrics_that_exist(board: Path) -> None:
    """A panel without data looks like a calm fleet."""
    assert metrics_in("\n".join(expressions(board))) <= known_metrics()


@promtool
@pytest.mark.parametrize("board", BOARDS, ids=lambda path: path.stem)
def test_a_dashboards_expressions_parse(board: Path, tmp_path: Path) -> None:
    """As rules, which promtool reads."""
    rules = [{"record": "x", "expr": text.replace("$__rate_interval", "1m")} for text in expressions(board)]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "x", "rules": rules}]}))
    assert checked("check", "rules", "--lint=none", str(tmp_path / "rules.yml")) == ""


def test_what_keda_scales_on_is_documented_and_exists() -> None:
    """An autoscaler without data keeps the number of workers, whatever happens."""
    queries = re.findall(r"^        query: (.+)$", SCALED, re.MULTILINE)
    documented = re.findall(r"^\| `(.+?)` \|", (ROOT / "docs/how-to/scale.md").read_text(), re.MULTILINE)

    assert metrics_in("\n".join(queries)) <= known_metrics()
    assert [query.replace("\\|", "|") for query in documented[-2:]] == queries[1:]
    assert documented[-3].startswith(f"{queries[0]} / ")


def test_the_scaled_object_has_what_keda_requires() -> None:
    """Its fields are those of KEDA's own schema, keda.sh/v1alpha1."""
    triggers = SCALED.partition("  triggers:\n")[2].split("    - ")[1:]
    for line in ("apiVersion: keda.sh/v1alpha1", "kind: ScaledObject", "  scaleTargetRef:\n    name: rushes-worker"):
        assert line in SCALED
    for trigger in triggers:
        assert re.match(r"type: prometheus\n      name: \w+\n      metricType: (AverageValue|Value)\b", trigger)
        assert re.findall(r"^        (\w+):", trigger, re.MULTILINE) == ["serverAddress", "query", "threshold"]
    assert re.search(r"^  minReplicaCount: [1-9]", SCALED, re.MULTILINE)


@promtool
def test_kedas_queries_parse(tmp_path: Path) -> None:
    """As rules, which promtool reads."""
    rules = [{"record": "x", "expr": query} for query in re.findall(r"^        query: (.+)$", SCALED, re.MULTILINE)]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "x", "rules": rules}]}))
    assert checked("check", "rules", "--lint=none", str(tmp_path / "rules.yml")) == ""


def test_every_metric_is_in_a_dashboard_or_an_alarm() -> None:
    """What nobody looks at need not be measured."""
    shown = metrics_in("\n".join([ALARMS, *(text for board in BOARDS for text in expressions(board))]))
    assert known_metrics() - shown == NOT_SHOWN


@prometheus
@pytest.mark.long
@pytest.mark.timeout(570)
def test_each_alarm_is_fired_by_its_blow_and_falls_silent_when_it_is_mended() -> None:
    """Real Redis, worker, API, upstream and Prometheus; the output says how many seconds each took."""
    ran = subprocess.run(
        [sys.executable, "-m", "ops.monitoring.drill"],
        capture_output=True,
        text=True,
        check=False,
        timeout=550,
        cwd=ROOT,
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert {*re.findall(r"^(Rushes\w+) ", ran.stdout, re.MULTILINE)} == {*NAMES}
    assert {*re.findall(r"^dashboard (\w+): ", ran.stdout, re.MULTILINE)} == {board.stem for board in BOARDS}


def test_an_alarm_uses_only_metrics_that_exist() -> None:
    """A renamed metric would silence it for ever."""
    assert metrics_in(ALARMS) <= known_metrics()
