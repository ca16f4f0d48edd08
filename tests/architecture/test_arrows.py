"""The architecture: which package may import which, and what only one place may know."""

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
"""The rules for proxies and Retry-After; in the client library, which must stand alone."""

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
    "opentelemetry",
    "obstore",
    "av",
    "PIL",
}


def sources(package: str) -> Iterator[Path]:
    """List the package's Python files."""
    yield from sorted((ROOT / package).rglob("*.py"))


def imports(file: Path) -> set[str]:
    """List the modules that a file imports."""
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
    """Worker and producer meet only in Redis, and only ops imports ops."""
    for file in sources(package):
        ours = {name.partition(".")[0] for name in imports(file) - SHARED_LEAVES} & {*PACKAGES, "tests"}
        assert ours <= MAY_IMPORT[package], f"{file.relative_to(ROOT)} imports {ours - MAY_IMPORT[package]}"


@pytest.mark.parametrize("leaf", sorted(SHARED_LEAVES))
def test_a_shared_leaf_imports_nothing_of_ours(leaf: str) -> None:
    """Otherwise its imports would bypass the arrows."""
    file = ROOT / f"{leaf.replace('.', '/')}.py"
    assert not {name.partition(".")[0] for name in imports(file)} & {*PACKAGES, "tests"}


def test_jobs_needs_no_client_library() -> None:
    """A job does not depend on how requests are made."""
    assert not [file for file in sources("jobs") if SHARED_LEAVES & imports(file)]


def test_jobs_knows_no_celery_and_no_http() -> None:
    """A job does not depend on the broker or the API."""
    for file in sources("jobs"):
        assert not {name.partition(".")[0] for name in imports(file)} & OUTSIDE_JOBS, file


def test_opentelemetry_is_imported_only_where_it_is_wanted() -> None:
    """It is an extra, and takes a tenth of a second: one module is imported once it is on, the other by its users."""
    importing = {
        str(file.relative_to(ROOT))
        for package in PACKAGES
        for file in sources(package)
        if any(name.partition(".")[0] == "opentelemetry" for name in imports(file))
    }
    assert importing == {"config/span_export.py", "producer/client/traces.py"}


def test_jobs_reads_no_clock_of_its_own() -> None:
    """The fleet has one clock, Redis's; a test passes its own."""
    for file in sources("jobs"):
        assert not re.search(r"\btime\.(time|monotonic)\b|datetime\.(now|utcnow)|\bsleep\(", file.read_text()), file


def test_videos_are_decoded_only_in_the_isolated_process() -> None:
    """A hostile video must harm only its isolated process."""
    inside = {f"worker/describe/{name}.py" for name in ("display", "probe", "previews")}
    for package in ("config", "jobs", "worker", "producer"):
        for file in sources(package):
            decodes = {name.partition(".")[0] for name in imports(file)} & {"av", "PIL"}
            assert not decodes or str(file.relative_to(ROOT)) in inside, file
    for file in sources("worker"):
        within = str(file.relative_to(ROOT)) in {*inside, "worker/describe/__main__.py"}
        assert within or not imports(file) & {
            "worker.describe.display",
            "worker.describe.probe",
            "worker.describe.previews",
        }, file


def test_the_sandbox_shares_no_code_with_the_client() -> None:
    """With shared code it would share the client's mistakes."""
    for file in sources("ops/sandbox"):
        ours = {name for name in imports(file) if name.partition(".")[0] in PACKAGES}
        assert all(name.startswith("ops.sandbox") for name in ours), f"{file} imports {ours}"


OWN_KEYS: Final = {
    "config/celery_app.py": "celery",
    "config/webhook_endpoints.py": "webhooks",
    "producer/keys.py": "access",
    "producer/sessions.py": "session",
}
"""The modules outside jobs that name keys in Redis, each with how its own begin."""


def keys_in(tree: ast.AST) -> list[str]:
    """Find strings that name a Redis key, and imports of the key prefix."""
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
    """All writes to jobs go through the ledger; API keys and webhook endpoints have keys of their own."""
    for package in ("config", "worker", "producer"):
        for file in sources(package):
            own = OWN_KEYS.get(str(file.relative_to(ROOT)))
            if own is None:
                assert not keys_in(ast.parse(file.read_text())), file
            else:
                assert re.findall(r"\{PREFIX\}(\w*)", file.read_text()) == [own] * file.read_text().count("{PREFIX}"), (
                    file
                )


@pytest.mark.parametrize(
    "source",
    [
        'client.hset("rushes:job:1", "state", "done")',
        'client.get(f"rushes:job:{job_id}")',
        "from jobs.keyspace import PREFIX",
    ],
)
def test_code_that_knows_a_key_would_be_found(source: str) -> None:
    """A check that cannot fail proves nothing."""
    assert keys_in(ast.parse(source))


def test_one_function_buys() -> None:
    """Only one place sends a POST to the upstream; the other POST is to webhook receivers."""
    posts = [
        str(file.relative_to(ROOT))
        for package in ("config", "jobs", "worker", "producer")
        for file in sources(package)
        if "producer/client" not in str(file)  # it posts to our own API
        for _ in re.findall(r"\"POST\"|(?<!router)\.post\(", file.read_text())
    ]
    assert posts == ["worker/receivers/webhooks.py", "worker/upstream/client.py"]


def test_the_client_library_stands_alone() -> None:
    """A backend that uses only HTTP needs none of our other packages."""
    for file in sources("producer/client"):
        ours = {name for name in imports(file) if name.partition(".")[0] in PACKAGES}
        assert all(name.startswith("producer.client") for name in ours), f"{file} imports {ours}"


def test_one_function_decides_which_proxy_a_request_uses() -> None:
    """With two readings of the variables, purchases could pass where polls do not."""
    readers = {
        str(file.relative_to(ROOT))
        for package in ("config", "jobs", "worker", "producer")
        for file in sources(package)
        if re.search(
            r"getproxies|get_environ_proxies|[\"'](https?|all|no)_proxy|_PROXY\b", file.read_text(), re.IGNORECASE
        )
    }
    assert readers <= {"producer/client/proxies.py", "producer/client/transports.py"}


def test_only_the_wire_knows_the_upstreams_field_names() -> None:
    """When the upstream renames a field, one file changes."""
    for file in sources("worker"):
        if file.name not in {"wire.py", "polls.py", "replies.py"}:
            assert not re.search(r"get\(\"(status|error|meta|id)\"|\[\"(status|error|meta)\"\]", file.read_text()), file


def test_errors_are_never_judged_by_their_messages() -> None:
    """Messages change; status, code and type are the contract."""
    for package in ("config", "jobs", "worker", "producer"):
        for file in sources(package):
            assert not re.search(r"\bin str\((e|error|exc)\b", file.read_text()), file


def sleeps_in(tree: ast.AST) -> list[str]:
    """Find calls of anything named sleep, whatever its module's name is."""
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
    """A worker waits by countdown."""
    for package in ("config", "jobs", "worker"):
        for file in sources(package):
            assert not sleeps_in(ast.parse(file.read_text())), file


@pytest.mark.parametrize(
    "source",
    ["time.sleep(1)", "from time import sleep as pause", "import time as t\nt.sleep (1)", "await asyncio.sleep(1)"],
)
def test_code_that_sleeps_would_be_found(source: str) -> None:
    """A check that cannot fail proves nothing."""
    assert sleeps_in(ast.parse(source, mode="exec", type_comments=False))
