"""The database of results: one row for each ended job, in SQLite and in a real PostgreSQL."""

import stat
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
import sqlalchemy as sa

from config.settings import ConfigurationError, HooksSettings, Settings
from jobs.delivery import Delivered, Delivery, NotDelivered
from jobs.job import Charged, Reason
from jobs.media import Media, Mismatch
from jobs.states import Status
from jobs.test_deliveries import made_up, new_test_delivery_id
from worker.receivers.outcome import Ready
from worker.receivers.result import JobResult
from worker.sql.engine import make_engine, sqlite_file
from worker.sql.reading import COLUMNS, Choice, rows
from worker.sql.receiver import DatabaseReceiver
from worker.sql.schema import VERSION_TABLE, SchemaBehind, check, upgrade
from worker.sql.tables import metadata
from worker.sql.writing import DatabaseTrouble, ResultsWriter

ROOT: Final = Path(__file__).parents[2]

RESULT: Final = JobResult(
    id="job_1",
    tenant="shop",
    status=Status.COMPLETED,
    model="google/veo3",
    prompt="a paper boat",
    parameters={"duration": 8, "generate_audio": True},
    metadata={"order": "4711"},
    generation_id="gen-1",
    video_url="https://cdn.example/1.mp4",
    path="2026/11/22/job_1.mp4",
    file=Path("/archive/2026/11/22/job_1.mp4"),
    size_bytes=3_000_000_000,
    sha256="ab" * 32,
    content_type="video/mp4",
    media=Media(duration_s=4.0, width=1280, height=720, mismatch=(Mismatch("duration", 8, 4.0),)),
    cost_usd=2.52,
    charged=Charged.YES,
    accepted_at=1_800_000_000.25,
    finished_at=1_800_000_120.5,
    polls=5,
)


@pytest.fixture(params=["sqlite", "postgresql", "pgbouncer"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    """An empty database of each kind, PostgreSQL also through a pooler in transaction mode."""
    url = f"sqlite:///{tmp_path}/videos.sqlite"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    if request.param == "pgbouncer":
        url = request.getfixturevalue("pgbouncer_url")
    made = make_engine(url, connections=4)
    with made.begin() as connection:
        for table in ("videos", VERSION_TABLE):
            connection.execute(sa.text(f"DROP TABLE IF EXISTS {table}"))
    yield made
    made.dispose()


def written(engine: sa.Engine) -> list[dict[str, Any]]:
    """All rows of the table."""
    return list(rows(engine, Choice()))


def test_an_ended_job_is_one_row_with_everything_of_it(engine: sa.Engine) -> None:
    """Readable by any tool: names as the record has them, times as times, JSON as JSON."""
    ResultsWriter(engine, migrate=True).write([RESULT])

    (row,) = written(engine)
    assert row.pop("written_at").endswith("Z")
    assert row == {
        "id": "job_1",
        "revision": 1,
        "account": "default",
        "tenant": "shop",
        "status": "completed",
        "reason": None,
        "message": None,
        "model": "google/veo3",
        "prompt": "a paper boat",
        "parameters": {"duration": 8, "generate_audio": True},
        "metadata": {"order": "4711"},
        "generation_id": "gen-1",
        "video_url": "https://cdn.example/1.mp4",
        "archive_path": "2026/11/22/job_1.mp4",
        "archive_url": "file:///archive/2026/11/22/job_1.mp4",
        "size_bytes": 3_000_000_000,
        "sha256": "ab" * 32,
        "content_type": "video/mp4",
        "media": {
            "duration_s": 4.0,
            "width": 1280,
            "height": 720,
            "frame_rate": None,
            "video_codec": None,
            "audio_codec": None,
            "loudness_lufs": None,
            "bitrate_bps": None,
            "mismatch": [{"field": "duration", "asked": 8, "got": 4.0}],
        },
        "cost_usd": 2.52,
        "charged": "yes",
        "polls": 5,
        "accepted_at": "2027-01-15T08:00:00.250Z",
        "submitted_at": None,
        "rendered_at": None,
        "finished_at": "2027-01-15T08:02:00.500Z",
    }


def test_a_job_delivered_twice_is_one_row_and_a_later_delivery_replaces_it(engine: sa.Engine) -> None:
    """At least once means more than once; and a late record must not undo a newer one."""
    writer = ResultsWriter(engine, migrate=True)
    expired = RESULT.model_copy(
        update={"status": Status.EXPIRED, "reason": Reason.DEADLINE_PASSED, "path": None, "file": None}
    )
    late = expired.model_copy(update={"revision": 2, "path": "x.mp4"})
    for result in (expired, expired, late, late, expired):
        writer.write([result])

    assert [(row["revision"], row["archive_path"]) for row in written(engine)] == [(2, "x.mp4")]


@pytest.mark.parametrize("prompt", ["NUL \0 inside", "half \ud83d a pair", "'; DROP TABLE videos; --", "🐉" * 50_000])
def test_a_prompt_is_data(engine: sa.Engine, prompt: str) -> None:
    """What no database can hold is replaced; a row that could never be written would be tried for ever."""
    ResultsWriter(engine, migrate=True).write(
        [RESULT.model_copy(update={"prompt": prompt, "metadata": {"label": prompt}})]
    )

    (row,) = written(engine)
    assert len(row["prompt"]) == len(prompt)
    assert row["metadata"]["label"] == row["prompt"]


def test_a_test_delivery_leaves_no_row(engine: sa.Engine) -> None:
    """It shows that the database can be reached, and spoils no statistics."""
    ResultsWriter(engine, migrate=True).write([RESULT.model_copy(update={"id": new_test_delivery_id()})])
    assert written(engine) == []


def test_many_workers_that_start_at_once_make_the_schema_once(engine: sa.Engine) -> None:
    """Each would run the migrations: the lock lets one, the others find it done."""
    writers = [ResultsWriter(engine, migrate=True) for _ in range(6)]
    failures: list[BaseException] = []

    def write(n: int) -> None:
        try:
            writers[n].write([RESULT.model_copy(update={"id": f"job_{n}"})])
        except DatabaseTrouble as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (failures, len(written(engine))) == ([], 6)


def test_many_rows_by_many_threads_are_all_written(engine: sa.Engine) -> None:
    """A pooler deals each transaction to another server, which knows nothing that was prepared at the last one."""
    writer = ResultsWriter(engine, migrate=True)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(writer.write, [[RESULT.model_copy(update={"id": f"job_{n}"})] for n in range(120)]))
    assert len(written(engine)) == 120


def ready(job_id: str, **changed: Any) -> Ready:
    """An ended job on its way to the database."""
    job, request = made_up(job_id, now=1_800_000_000.0)
    delivery = Delivery("sql", job_id, "job.completed", 1, 1_800_000_000.0, 0)
    return delivery, job.model_copy(update=changed), request


def test_a_batch_is_one_transaction(engine: sa.Engine) -> None:
    """A transaction for each row costs a wait for the disk each."""
    receiver, commits = DatabaseReceiver(ResultsWriter(engine, migrate=True), HooksSettings(), "/archive"), list[int]()
    list(receiver.deliver_all([ready("job_0")]))
    sa.event.listen(engine, "commit", lambda _: commits.append(1))

    outcomes = list(receiver.deliver_all([ready(f"job_{n}") for n in range(20)]))

    assert outcomes == [Delivered()] * 20
    assert (len(commits), len(written(engine))) == (1, 20)


def refusing_twins(engine: sa.Engine) -> ResultsWriter:
    """Writes to a table of which the operator allows no two rows of one generation."""
    writer = ResultsWriter(engine, migrate=True)
    writer.write([])
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE UNIQUE INDEX one_each ON videos (generation_id)"))
    return writer


def test_a_row_that_the_database_refuses_stops_no_other_of_its_batch(engine: sa.Engine) -> None:
    """Each is tried by itself then, and the refused one is its own failure."""
    receiver = DatabaseReceiver(refusing_twins(engine), HooksSettings(), "/archive")
    batch = [ready(f"job_{n}", generation_id=generation) for n, generation in enumerate(("a", "a", "b"))]

    outcomes = list(receiver.deliver_all(batch))

    assert [type(outcome) for outcome in outcomes] == [Delivered, NotDelivered, Delivered]
    assert "DatabaseTrouble: " in outcomes[1].message
    assert {row["id"] for row in written(engine)} == {"job_0", "job_2"}


def test_a_row_of_which_no_record_can_be_made_stops_no_other_of_its_batch(engine: sa.Engine) -> None:
    """Nor does what is odd already before the database sees it."""
    receiver = DatabaseReceiver(ResultsWriter(engine, migrate=True), HooksSettings(), "/archive")

    outcomes = list(receiver.deliver_all([ready("job_0"), ready("job_1", model=None), ready("job_2")]))

    assert [type(outcome) for outcome in outcomes] == [Delivered, NotDelivered, Delivered]


class Counting(ResultsWriter):
    """Counts its transactions."""

    made = 0

    def write(self, results: Sequence[JobResult]) -> None:
        """Write them."""
        self.made += 1
        super().write(results)


def test_a_lone_row_that_is_refused_is_tried_once(engine: sa.Engine) -> None:
    """While a database hangs, a second try would hold the thread twice as long."""
    refusing_twins(engine).write([RESULT])
    writer = Counting(engine, migrate=True)
    twin = ready("job_2", generation_id=RESULT.generation_id)

    (outcome,) = DatabaseReceiver(writer, HooksSettings(), "/archive").deliver_all([twin])

    assert (type(outcome), writer.made) == (NotDelivered, 1)


@pytest.fixture(params=["postgres_url", "pgbouncer_url"])
def server_url(request: pytest.FixtureRequest) -> str:
    """A PostgreSQL's address, direct and through a pooler in transaction mode."""
    url: str = request.getfixturevalue(request.param)
    return url


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ("", ("30s", "30s", '"$user", public')),
        ("?options=-csearch_path%3Dshop", ("30s", "30s", "shop")),
        ("?options=-c%20search_path%3Dshop%2Cpublic%20--statement-timeout%3D5000", ("5s", "30s", "shop,public")),
        ("?options=-c%20search_path%3Dshop%2C%5C%20public", ("30s", "30s", "shop, public")),
    ],
)
def test_each_transaction_is_bounded_and_nothing_else(server_url: str, options: str, found: tuple[str, ...]) -> None:
    """Behind a pooler what stayed set would be another application's."""
    made = make_engine(f"{server_url}{options}", connections=1)
    names = ("statement_timeout", "lock_timeout", "search_path")
    with made.begin() as connection:
        assert tuple(connection.exec_driver_sql(f"SHOW {name}").scalar() for name in names) == found
    with psycopg.connect(server_url, prepare_threshold=None, autocommit=True) as other:
        for name, usual in zip(names, ("0", "0", '"$user", public'), strict=True):
            assert other.execute(f"SHOW {name}").fetchone() == (usual,)
    made.dispose()


def test_what_is_no_setting_is_left_to_the_connection(postgres_url: str) -> None:
    """Options of another kind mean something to PostgreSQL, if not to a pooler."""
    made = make_engine(f"{postgres_url}?options=-e", connections=1)
    with made.begin() as connection:
        assert connection.exec_driver_sql("SHOW datestyle").scalar() == "ISO, DMY"
    made.dispose()


def test_a_statement_that_takes_too_long_is_given_up(server_url: str) -> None:
    """A slot of the database must not wait for ever."""
    made = make_engine(f"{server_url}?options=-cstatement_timeout%3D50", connections=1)
    with made.begin() as connection, pytest.raises(sa.exc.OperationalError, match="statement timeout"):
        connection.exec_driver_sql("SELECT pg_sleep(20)")
    made.dispose()


FOLDERS: Final = [
    "100%",
    "a?b",
    "a?b=c",
    "a#b",
    "two words",
    "Größe ☂",
    "%2F",
    "a%20b",
    "a&b=c",
    "a+b",
    "?uri=true",
    "a:b@c",
]


@pytest.mark.parametrize("name", FOLDERS)
def test_the_state_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    """The file is made there and nowhere else, for its owner only."""
    folder = tmp_path / name
    folder.mkdir()
    engine = make_engine(Settings(state_dir=folder).sql_url, connections=1)
    ResultsWriter(engine, migrate=True).write([RESULT])

    made = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.parent for path in made} == {folder}
    assert {path.name for path in made} == {"videos.sqlite", "videos.sqlite-wal", "videos.sqlite-shm"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in made} == {0o600}
    assert sqlite_file(Settings(state_dir=folder).sql_url) == folder / "videos.sqlite"
    engine.dispose()


def test_a_state_folder_that_no_address_can_hold_is_refused() -> None:
    """Another name would be made of it, silently."""
    with pytest.raises(ConfigurationError, match="RUSHES_STATE_DIR"):
        _ = Settings(state_dir=Path("a\udcff")).sql_url


@pytest.mark.parametrize("name", ["a?b/x.sqlite", "a?", "a?b=c/x.sqlite", "a?timeout=5&x=1"])
def test_a_sqlite_address_that_would_lead_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    """The driver would take what stands before the ? for the file."""
    with pytest.raises(ConfigurationError, match="written %3F"):
        make_engine(f"sqlite:///{tmp_path}/{name}", connections=1)


def test_the_migrations_make_the_table_that_this_version_writes_to(engine: sa.Engine) -> None:
    """What the code thinks of the table is what a fresh database gets."""
    assert upgrade(engine) == (None, "0002")
    assert upgrade(engine) == ("0002", "0002")

    made = sa.MetaData()
    made.reflect(engine, only=["videos"])
    assert _drawn(made.tables["videos"]) == _drawn(metadata.tables["videos"])
    assert {index.name for index in made.tables["videos"].indexes} == {
        index.name for index in metadata.tables["videos"].indexes
    }


def test_without_the_right_to_migrate_it_says_what_to_do(engine: sa.Engine) -> None:
    """A deployment whose worker may not alter tables runs `rushes db upgrade` first."""
    writer = ResultsWriter(engine, migrate=False)
    with pytest.raises(DatabaseTrouble, match="the schema is not made yet; run `rushes db upgrade`"):
        writer.write([RESULT])
    with pytest.raises(SchemaBehind):
        check(engine)

    upgrade(engine)
    check(engine)
    writer.write([RESULT])
    assert len(written(engine)) == 1


def test_an_older_worker_goes_on_writing_beside_a_newer_schema(engine: sa.Engine) -> None:
    """A deploy rolls through the fleet; migrations only ever add."""
    upgrade(engine)
    with engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))

    ResultsWriter(engine, migrate=True).write([RESULT])
    assert len(written(engine)) == 1


def test_a_database_that_is_away_is_no_more_than_trouble(tmp_path: Path) -> None:
    """Nothing connects before the first row; the message holds no password and no row."""
    away = ResultsWriter(make_engine("postgresql://me:hunter2@127.0.0.1:1/db", connections=1), migrate=True)
    with pytest.raises(DatabaseTrouble) as caught:
        away.write([RESULT])
    assert "hunter2" not in str(caught.value)

    nowhere = ResultsWriter(make_engine(f"sqlite:///{tmp_path}/no/such/folder.sqlite", connections=1), migrate=True)
    with pytest.raises(DatabaseTrouble, match="OperationalError: unable to open database file"):
        nowhere.write([RESULT])


def test_an_error_of_the_database_is_reported_without_the_row(engine: sa.Engine) -> None:
    """A failing row's values must not reach a log: prompts are customers' own."""
    writer = ResultsWriter(engine, migrate=True)
    with pytest.raises(DatabaseTrouble) as caught:
        writer.write([RESULT.model_copy(update={"prompt": "a secret prompt", "model": None})])
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("url", ["mysql://root:hunter2@x/db", "hunter2", "postgresql://me:hunter2@host:port/db"])
def test_an_address_of_another_kind_stops_the_worker_with_a_sentence(url: str) -> None:
    """The sentence leaves the address out, because it may hold a password."""
    with pytest.raises(ConfigurationError) as caught:
        make_engine(url, connections=1)
    assert "RUSHES_SQL__URL" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_rows_are_chosen_by_time_and_status(engine: sa.Engine) -> None:
    """A monthly report needs such a choice."""
    writer = ResultsWriter(engine, migrate=True)
    for n, status in enumerate([Status.COMPLETED, Status.FAILED, Status.COMPLETED]):
        writer.write(
            [RESULT.model_copy(update={"id": f"job_{n}", "status": status, "finished_at": 1_800_000_000.0 + n})]
        )
    second = datetime.fromtimestamp(1_800_000_001, UTC)

    assert [row["id"] for row in rows(engine, Choice(since=second))] == ["job_1", "job_2"]
    assert [row["id"] for row in rows(engine, Choice(before=second))] == ["job_0"]
    assert [row["id"] for row in rows(engine, Choice(statuses=[Status.FAILED]))] == ["job_1"]
    assert set(COLUMNS) == set(written(engine)[0])


def test_a_worker_waits_for_no_part_of_a_database_that_it_does_not_want() -> None:
    """SQLAlchemy and alembic are a quarter of all that a start imports; the worker's own modules need neither."""
    code = "import sys, worker.app; print(sorted({'sqlalchemy', 'alembic', 'psycopg'} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert loaded.stdout.strip() == "[]"


def _drawn(table: sa.Table) -> dict[str, tuple[str, bool]]:
    return {column.name: (_kind(column), bool(column.nullable)) for column in table.c}


def _kind(column: sa.Column[Any]) -> str:
    """The family of a column's type, because dialects name types in their own ways."""
    kind = column.type
    families = (sa.JSON, sa.DateTime, sa.Numeric, sa.Integer, sa.String)
    return next(family.__name__ for family in families if isinstance(kind, family))
