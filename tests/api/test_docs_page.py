"""`/docs` as a browser shows it: from files of ours alone, under a strict policy."""

from pathlib import Path

import pytest

from tests.api.conftest import Api
from tests.api.test_openapi import DOCUMENT
from tests.browser import needs_chromium, shown

FILES = {
    "/docs/files/swagger-ui-bundle.js": "text/javascript",
    "/docs/files/swagger-ui.css": "text/css",
    "/docs/files/favicon-32x32.png": "image/png",
    "/docs/start.js": "text/javascript",
}


@needs_chromium
def test_the_page_shows_every_operation_and_asks_nobody_else(api: Api, tmp_path: Path) -> None:
    """It was blank once: our own policy forbade the script that it loaded from another host."""
    page = shown(f"{api.url}/docs", tmp_path)

    for path, operations in DOCUMENT["paths"].items():
        assert page.elements.count(f'data-path="{path}"') >= len(operations), path
        for operation in operations.values():
            assert operation["summary"].replace("'", "&#39;") in page.elements.replace("'", "&#39;")
    assert page.console == []
    assert f"{api.url}/docs/files/swagger-ui-bundle.js" in page.asked_for
    assert [url for url in page.asked_for if not url.startswith(f"{api.url}/")] == []


@pytest.mark.parametrize("path", FILES)
def test_its_files_are_ours(api: Api, path: str) -> None:
    """Served without a key, as the page is; a browser need not fetch them twice."""
    answer = api.get(path)

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(FILES[path])
    if "/files/" in path:
        assert api.get(path, if_none_match=answer.headers["etag"]).status_code == 304


def test_its_policy_lets_no_script_in_but_our_files(api: Api) -> None:
    """Neither inline nor from elsewhere; every other answer forbids everything."""
    policy = dict(part.strip().split(" ", 1) for part in api.get("/docs").headers["content-security-policy"].split(";"))

    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["connect-src"] == "'self'"
    assert not any("unsafe" in allowed or "http" in allowed for allowed in policy.values())
    assert api.get("/openapi.json").headers["content-security-policy"].startswith("default-src 'none'; frame-ancestors")


@pytest.mark.parametrize("path", ["/docs/files/", "/docs/files/none.js", "/docs/files/%2e%2e/main.py", "/redoc"])
def test_nothing_else_is_there(api: Api, path: str) -> None:
    """Delivered as any other problem."""
    answer = api.get(path)

    assert (answer.status_code, answer.json()["code"]) == (404, "no_such_route")
