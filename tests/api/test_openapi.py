"""The OpenAPI document is complete, and the API does what it says, also to clients that send nonsense."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from config.settings import Settings
from config.webhook_endpoints import Endpoints
from jobs.ledger import Ledger
from jobs.scripts import Retention, Scripts
from producer.api.application import make_app
from producer.api.problems import Code
from tests.api.conftest import Api

DOCUMENT: dict[str, Any] = make_app(Settings(_env_file=None)).openapi()


def properties() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every field of every schema."""
    for name, schema in DOCUMENT["components"]["schemas"].items():
        for field, described in schema.get("properties", {}).items():
            yield name, field, described


def shown(described: dict[str, Any]) -> bool:
    """Whether there is an example."""
    within = described.get("schema", {})
    return any("examples" in place or "example" in place for place in (described, within))


def test_every_field_is_described_with_an_example() -> None:
    """A reader of the document needs no other."""
    for schema, field, described in properties():
        assert described.get("description"), f"{schema}.{field}"
        assert shown(described) or described.get("format") == "binary", f"{schema}.{field}"


def test_every_parameter_is_described_with_an_example() -> None:
    """In the path, the query and the headers."""
    for path, operations in DOCUMENT["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"]
            assert operation["description"]
            for parameter in operation.get("parameters", []):
                assert parameter.get("description"), f"{method} {path} {parameter['name']}"
                assert shown(parameter), f"{method} {path} {parameter['name']}"


def test_every_code_is_listed() -> None:
    """A client can be generated that knows them all."""
    assert DOCUMENT["components"]["schemas"]["Code"]["enum"] == [code.value for code in Code]


def test_the_rendered_document_is_served(api: Api) -> None:
    """For people."""
    assert api.get("/docs").headers["content-type"].startswith("text/html")
    assert api.get("/openapi.json").json() == DOCUMENT


@pytest.mark.long
@pytest.mark.timeout(300)  # a thousand requests
def test_nonsense_finds_no_crack(nonsense: Api, tmp_path: Path) -> None:
    """Schemathesis makes requests up from the document, good and bad; each answer must be one that it promises."""
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    program = Path(sys.executable).with_name("schemathesis")
    command = [str(program), "run", f"{nonsense.url}/openapi.json", "--checks", checks, "--seed", "1"]
    command += [
        "--max-examples",
        "8",
        "--phases",
        "examples,coverage,fuzzing",
        "--no-color",
        "--generation-database",
        "none",
    ]

    ran = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False, cwd=tmp_path)

    assert ran.returncode == 0, ran.stdout[-8000:] + ran.stderr


@pytest.fixture
def nonsense(client: "redis.Redis", redis_url: str, tmp_path: Path) -> Iterator[Api]:
    """An API that waits for nothing, with a job that can be spoken of."""
    environment = {
        "RUSHES_REDIS__URL": redis_url,
        "RUSHES_STATE_DIR": str(tmp_path),
        "RUSHES_API__AUTH": "off",
        "RUSHES_API__LONGEST_WAIT_S": "0.1",
        "RUSHES_RESCUE__EVERY_S": "1000",  # a worker that was seen once stays seen
        "RES_OPTIONS": "timeout:1 attempts:1",  # no example has a real host; some resolvers need 5 s a name to say so
    }
    with Api.started(tmp_path, environment) as started:
        job_id = started.submit()["id"]
        Ledger(client).worker_seen("one@test.1", "1.0")  # so that it is ready, and says so
        endpoint = Endpoints(Scripts(client, retention=Retention(), clock=None, subscribers=())).add(
            "https://a.example"
        )
        known = f'"path.job_id" = "{job_id}"\n"path.endpoint_id" = "{endpoint.id}"\n'
        (tmp_path / "schemathesis.toml").write_text(f"[parameters]\n{known}")
        yield started
