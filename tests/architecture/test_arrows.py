"""The folder list is the architecture: who may import whom, and what only one place may know."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.stage import ROOT

PACKAGES: Final = ("config", "jobs", "worker", "producer", "ops")
MAY_IMPORT: Final = {
    "jobs": {"jobs"},
    "config": {"config", "jobs"},
    "worker": {"worker", "config", "jobs"},
    "producer": {"producer", "config", "jobs"},
    "ops": {"ops", "worker", "producer", "config", "jobs"},
}
SHARED_LEAVES: Final = frozenset({"producer.client.proxies", "producer.client.retry_after"})
"""Which way a request takes, and how long a reply asks to wait; in the client library, which must stand alone."""

OUTSIDE_JOBS: Final = {
    "celery",
    "kombu",
    "requests",
    "urllib3",
    "httpx",
    "flower",
    "typer",
    "rich",
    "pydantic_settings",
    "obstore",
    "av",
    "PIL",
}


def sources(package: str) -> Iterator[Path]:
    """The package's Python files."""
    yield from sorted((ROOT / package).rglob("*.py"))


def imports(file: Path) -> set[str]:
    """Top-level names that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_arrows_point_one_way(package: str) -> None:
    """Worker and producer meet in Redis, never in an import; nothing imports ops but ops."""
    for file in sources(package):
        ours = {name.partition(".")[0] for name in imports(file) - SHARED_LEAVES} & {*PACKAGES, "tests"}
        assert ours <= MAY_IMPORT[package], f"{file.relative_to(ROOT)} imports {ours - MAY_IMPORT[package]}"


@pytest.mark.parametrize("leaf", sorted(SHARED_LEAVES))
def test_what_all_may_import_imports_nothing_of_ours(leaf: str) -> None:
    """Else it would carry its own imports past the arrows."""
    file = ROOT / f"{leaf.replace('.', '/')}.py"
    assert not {name.partition(".")[0] for name in imports(file)} & {*PACKAGES, "tests"}


def test_jobs_needs_no_client_library() -> None:
    """What a job is does not depend on how requests are made."""
    assert not [file for file in sources("jobs") if SHARED_LEAVES & imports(file)]


def test_jobs_knows_no_celery_and_no_http() -> None:
    """What a job is does not depend on who carries its messages."""
    for file in sources("jobs"):
        assert not {name.partition(".")[0] for name in imports(file)} & OUTSIDE_JOBS, file


def test_jobs_reads_no_clock_of_its_own() -> None:
    """The fleet has one clock, Redis's; a test passes its own."""
    for file in sources("jobs"):
        assert not re.search(r"\btime\.(time|monotonic)\b|datetime\.(now|utcnow)|\bsleep\(", file.read_text()), file


def test_strangers_bytes_are_decoded_in_the_bounded_process_alone() -> None:
    """A hostile video must find nothing but its own small process to hurt."""
    inside = {"worker/media/probe.py", "worker/media/previews.py"}
    for package in ("config", "jobs", "worker", "producer"):
        for file in sources(package):
            decodes = {name.partition(".")[0] for name in imports(file)} & {"av", "PIL"}
            assert not decodes or str(file.relative_to(ROOT)) in inside, file
    for file in sources("worker"):
        within = str(file.relative_to(ROOT)) in {*inside, "worker/media/__main__.py"}
        assert within or not imports(file) & {"worker.media.probe", "worker.media.previews"}, file


def test_the_sandbox_reads_the_wire_for_itself() -> None:
    """A stand-in that shared the client's code would share its mistakes."""
    for file in sources("ops/sandbox"):
        ours = {name for name in imports(file) if name.partition(".")[0] in PACKAGES}
        assert all(name.startswith("ops.sandbox") for name in ours), f"{file} imports {ours}"


def keys_in(tree: ast.AST) -> list[str]:
    """Texts that name a key in Redis, and imports of what such names begin with."""
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    imported = [
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "jobs.keyspace"
        for alias in node.names
        if alias.name == "PREFIX"
    ]
    return [text for text in texts if re.match(r"rushes:[a-z{]?", text)] + imported


def test_only_the_ledger_knows_the_keys() -> None:
    """One writer: code that wants to change a job asks the ledger."""
    allowed = {"config/celery_app.py"}  # the prefix of Celery's own keys
    for package in ("config", "worker", "producer"):
        for file in sources(package):
            if str(file.relative_to(ROOT)) not in allowed:
                assert not keys_in(ast.parse(file.read_text())), file


@pytest.mark.parametrize(
    "source",
    [
        'client.hset("rushes:job:1", "state", "done")',
        'client.get(f"rushes:job:{job_id}")',
        "from jobs.keyspace import PREFIX",
    ],
)
def test_code_that_knows_a_key_would_be_found(source: str) -> None:
    """A gate that nothing can fail holds nothing."""
    assert keys_in(ast.parse(source))


def test_one_function_buys() -> None:
    """The only POST to the upstream is in one place; the other POST there is tells receivers."""
    posts = [
        str(file.relative_to(ROOT))
        for package in ("config", "jobs", "worker", "producer")
        for file in sources(package)
        if "producer/client" not in str(file)  # it posts to our own API
        for _ in re.findall(r"\"POST\"|(?<!router)\.post\(", file.read_text())
    ]
    assert posts == ["worker/upstream/client.py", "worker/webhooks.py"]


def test_the_client_library_stands_alone() -> None:
    """A backend that has only HTTP carries none of our insides."""
    for file in sources("producer/client"):
        ours = {name for name in imports(file) if name.partition(".")[0] in PACKAGES}
        assert all(name.startswith("producer.client") for name in ours), f"{file} imports {ours}"


def test_one_function_decides_which_way_a_request_takes() -> None:
    """Two readings of the same variables let purchases out and polls not."""
    asks = {
        str(file.relative_to(ROOT))
        for package in ("config", "jobs", "worker", "producer")
        for file in sources(package)
        if re.search(
            r"getproxies|get_environ_proxies|[\"'](https?|all|no)_proxy|_PROXY\b", file.read_text(), re.IGNORECASE
        )
    }
    assert asks <= {"producer/client/proxies.py", "producer/client/transports.py"}


def test_only_the_wire_knows_the_upstreams_field_names() -> None:
    """When the upstream renames a field, one file changes."""
    for file in sources("worker"):
        if file.name not in {"wire.py", "polls.py", "replies.py"}:
            assert not re.search(r"get\(\"(status|error|meta|id)\"|\[\"(status|error|meta)\"\]", file.read_text()), file


def test_what_failed_is_never_judged_by_its_words() -> None:
    """Messages change; status, code and type are the contract."""
    for package in ("config", "jobs", "worker", "producer"):
        for file in sources(package):
            assert not re.search(r"\bin str\((e|error|exc)\b", file.read_text()), file


def sleeps_in(tree: ast.AST) -> list[str]:
    """Calls of anything called sleep, by whatever name its module was imported."""
    called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = [func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "") for func in called]
    aliases = [
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in {"time", "asyncio"}
        for alias in node.names
    ]
    return [name for name in [*names, *aliases] if name == "sleep"]


def test_no_worker_slot_sleeps() -> None:
    """Waiting is a countdown."""
    for package in ("config", "jobs", "worker"):
        for file in sources(package):
            assert not sleeps_in(ast.parse(file.read_text())), file


@pytest.mark.parametrize(
    "source",
    ["time.sleep(1)", "from time import sleep as pause", "import time as t\nt.sleep (1)", "await asyncio.sleep(1)"],
)
def test_code_that_sleeps_would_be_found(source: str) -> None:
    """A gate that nothing can fail holds nothing."""
    assert sleeps_in(ast.parse(source, mode="exec", type_comments=False))
