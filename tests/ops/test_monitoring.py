"""Alarms: Prometheus accepts the rules, each fires for its trouble, and each says what to do."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from jobs.job import Charged
from jobs.states import Status
from ops.monitoring.watched import in_a_hurry
from tests.monitoring import checked, known_metrics, metrics_in, prometheus, promtool
from tests.stage import ROOT
from tests.worker.test_database import RESULT as A_RESULT
from worker.sql.engine import make_engine
from worker.sql.schema import VERSION_TABLE
from worker.sql.writing import ResultsWriter

MONITORING: Final = ROOT / "ops/monitoring"
ALARMS: Final = (MONITORING / "alarms.yml").read_text()
NAMES: Final = re.findall(r"- alert: (\w+)", ALARMS)
RUNBOOK: Final = (ROOT / "docs/how-to/alarms.md").read_text()
ALL_BOARDS: Final = sorted((MONITORING / "grafana").glob("*.json"))
BOARDS: Final = [board for board in ALL_BOARDS if board.stem != "tenant"]
"""Those of metrics; the other one asks the database of results."""
MACROS: Final = {
    r"\$__timeFilter\((\w+)\)": r"\1 BETWEEN '2027-01-15T00:00:00Z' AND '2027-01-16T00:00:00Z'",
    r"\$__timeGroupAlias\((\w+), \$__interval\)": r'floor(extract(epoch FROM \1) / 300) * 300 AS "time"',
    r"\$\{tenant:sqlstring\}": "'shop'",
}
"""What Grafana's PostgreSQL data source makes of them (grafana.com/docs, PostgreSQL query editor, macros)."""
SCALED: Final = (MONITORING / "keda/scaledobject.yml").read_text()
TENANT_BOARD: Final = MONITORING / "grafana/tenant.json"
NOT_SHOWN: Final = {"rushes_api_subscribers"}
PARTS: Final = ("- **Means:**", "- **Look at:**", "- **Type:**", "- **Until morning?**")


def targets(board: Path) -> list[dict[str, Any]]:
    """List what a dashboard asks."""
    return [target for panel in json.loads(board.read_text())["panels"] for target in panel["targets"]]


def expressions(board: Path) -> list[str]:
    """List a dashboard's expressions for Prometheus."""
    return [target["expr"] for target in targets(board) if "expr" in target]


def queries(board: Path) -> list[str]:
    """List a dashboard's queries of the database of results, as Grafana would send them."""
    text = board.read_text()
    found = [target["rawSql"] for target in targets(board) if "rawSql" in target]
    variables = json.loads(text)["templating"]["list"]
    found += [variable["query"] for variable in variables if variable["type"] == "query"]
    for macro, sql in MACROS.items():
        found = [re.sub(macro, sql, query) for query in found]
    return found


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


@pytest.mark.parametrize("board", ALL_BOARDS, ids=lambda path: path.stem)
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
    assert all(target["datasource"]["uid"] == "${datasource}" for target in targets(board))


@pytest.mark.parametrize("board", BOARDS, ids=lambda path: path.stem)
def test_a_dashboard_uses_only_metrics_that_exist(board: Path) -> None:
    """A panel without data looks like a calm fleet."""
    assert metrics_in("\n".join(expressions(board))) <= known_metrics()


def test_the_tenants_dashboard_asks_the_database_of_results(postgres_url: str) -> None:
    """By its own queries, over a video, a failure without a cost, and another tenant's job."""
    video = A_RESULT.model_copy(update={"finished_at": A_RESULT.accepted_at + 120, "cost_usd": 2.5})
    ended = {"id": "job_2", "status": Status.FAILED, "cost_usd": None, "charged": Charged.UNKNOWN}
    failed, others = video.model_copy(update=ended), video.model_copy(update={"id": "job_3", "tenant": "other"})
    engine = make_engine(postgres_url, connections=1)
    with engine.begin() as connection:
        for table in ("videos", VERSION_TABLE):
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS {table}")
    ResultsWriter(engine, migrate=True).write([video, failed, others])

    with engine.connect() as connection:
        asked = [connection.exec_driver_sql(query.replace("%", "%%")).all() for query in queries(TENANT_BOARD)]
    engine.dispose()

    videos, dollars, without, unknown, ends, by_model, took, last, tenants = asked
    assert [each[0][0] for each in (videos, dollars, without, unknown)] == [1, 2.5, 1, 1]
    assert sorted(row[1:] for row in ends) == [("completed", 1), ("failed", 1)]
    assert [row[1:] for row in by_model] == [(video.model, 2.5)]
    assert [row[1:] for row in took] == [(120, 120)]
    assert [row.id for row in last] == ["job_2"]
    assert {row[0] for row in tenants} == {"other", "shop"}


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
