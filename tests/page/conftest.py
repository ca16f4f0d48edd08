"""Chromium with a tab, and APIs for it: one without keys, one with."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
import redis
from playwright.sync_api import Browser, Page, expect, sync_playwright

from jobs.ledger import Ledger
from producer.keys import Keys
from tests.api.conftest import Api
from tests.browser import CHROMIUM

_FLAGS: Final = ("--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1")
PATIENCE_MS: Final = 15_000


@dataclass
class Tab:
    """A page in a browser of its own, and what it complained of."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)
    asked_for: list[str] = field(default_factory=list)

    def open(self, path: str) -> Page:
        """Open a page of ours."""
        self.page.goto(f"{self.url}{path}")
        return self.page

    def sign_in(self, token: str, path: str = "/") -> Page:
        """Sign in, on the way to a page."""
        self.open(path)
        self.page.get_by_label("API key").fill(token)
        self.page.get_by_role("button", name="Sign in").click()
        return self.page


@pytest.fixture(scope="module")  # while it runs, this thread counts as an event loop's, which other tests cannot use
def chromium() -> Iterator[Browser]:
    """Run Debian's Chromium; where there is none, its tests are skipped."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here (apt install chromium)")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*_FLAGS])
        yield browser
        browser.close()


@contextmanager
def a_tab(chromium: Browser, url: str, **how: Any) -> Iterator[Tab]:
    """Open a tab; at its end nothing may have been refused by its policy, thrown, or asked of another host."""
    context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **how})
    context.set_default_timeout(PATIENCE_MS)
    tab = Tab(context.new_page(), url)

    def complain(text: str) -> None:
        if "Failed to load resource" not in text:  # a status, which tests look at themselves
            tab.complaints.append(text)

    tab.page.on("console", lambda message: complain(message.text) if message.type in {"error", "warning"} else None)
    tab.page.on("pageerror", lambda error: complain(str(error)))
    tab.page.on("request", lambda request: tab.asked_for.append(request.url))
    try:
        yield tab
        assert tab.complaints == []
        assert [asked for asked in tab.asked_for if not asked.startswith(f"{url}/")] == []
    finally:
        context.close()


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive that the APIs read."""
    return tmp_path_factory.mktemp("archive")


@pytest.fixture(scope="session")
def shared_api(redis_url: str, archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """An API that serves this machine without keys."""
    environment = {
        "RUSHES_REDIS__URL": redis_url,
        "RUSHES_ARCHIVE__DIR": str(archive),
        "RUSHES_API__AUTH": "off",
        "RUSHES_API__CHECK_PICTURES": "false",
        "RUSHES_WEBHOOKS__KEYS": "ab" * 32,
    }
    with Api.started(tmp_path_factory.mktemp("api"), environment) as started:
        yield started


@pytest.fixture(scope="session")
def shared_keyed(redis_url: str, archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """An API that asks for keys."""
    environment = {"RUSHES_REDIS__URL": redis_url, "RUSHES_ARCHIVE__DIR": str(archive)}
    with Api.started(tmp_path_factory.mktemp("keyed"), environment) as started:
        yield started


@pytest.fixture
def api(shared_api: Api, client: object) -> Api:
    """The API without keys, over an empty Redis."""
    del client
    return shared_api


@pytest.fixture
def keyed(shared_keyed: Api, client: object) -> Api:
    """The API with keys, over an empty Redis."""
    del client
    return shared_keyed


@pytest.fixture
def access(client: "redis.Redis") -> Keys:
    """Issues keys."""
    return Keys(client)


@pytest.fixture
def real_ledger(client: "redis.Redis") -> Ledger:
    """The ledger by Redis's own clock, as the workers hold it."""
    return Ledger(client)


@pytest.fixture
def tab(chromium: Browser, api: Api) -> Iterator[Tab]:
    """A tab for the API without keys."""
    with a_tab(chromium, api.url) as opened:
        yield opened


@pytest.fixture
def keyed_tab(chromium: Browser, keyed: Api) -> Iterator[Tab]:
    """A tab for the API with keys, not signed in."""
    with a_tab(chromium, keyed.url) as opened:
        yield opened
