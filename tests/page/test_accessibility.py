"""Everybody can use the page: axe-core finds nothing wrong, the keyboard reaches each action and shows where it is."""

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Final

import pytest
import redis
from playwright.sync_api import Browser, Page

from config.webhook_endpoints import Endpoints
from jobs.breakers import Breaker
from jobs.delivery import DeliveryLine
from jobs.job import Hold, Terms
from jobs.ledger import Ledger
from jobs.media import Media, Mismatch
from jobs.outbox import Attempt, ReceiverTerms
from jobs.scripts import Retention, Scripts
from jobs.states import State
from producer.keys import Keys, Scope
from tests import steps
from tests.api.conftest import Api
from tests.page.conftest import Tab, a_tab
from tests.page.test_canary import TERMS
from tests.page.test_views import SIDEWAYS, with_pictures
from tests.stage import a_request, outbox_of

AXE: Final = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
RULES: Final = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
JUDGE: Final = """
async rules => (await axe.run({runOnly: rules, resultTypes: ["violations"]})).violations.flatMap(
  ({id, nodes}) => nodes.map(({target, failureSummary}) => `${id}: ${target}: ${failureSummary}`))
"""
NAME: Final = "each => [each.tagName, each.name, each.getAttribute('href') ?? each.textContent.trim()].join(' ')"
STOPS: Final = f"""
() => [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")].filter(
  each => each.type !== "hidden" && each.tabIndex >= 0 && each.checkVisibility()).map({NAME})
"""
FOCUSED: Final = f"""
() => {{ const each = document.activeElement, style = getComputedStyle(each);
  return [({NAME})(each), style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2] }}
"""
WHO: Final = {
    "operator": None,  # without a key, on this machine
    "tenant": [Scope.READ, Scope.SUBMIT],
    "reader": [Scope.READ],
}


@pytest.fixture
def jobs(real_ledger: Ledger, archive: Path, client: "redis.Redis") -> list[str]:
    """A tenant's jobs, one in each state, and troubles of every kind."""
    found = {state: real_ledger.accept(a_request(f"a boat, {state}"), Terms(tenant="shop")).job_id for state in State}
    for state, job_id in found.items():
        if state not in {State.QUEUED, State.COMPLETED}:
            steps.walked(real_ledger, job_id, state, first_poll_s=60)
    with_pictures(real_ledger, found[State.COMPLETED], archive)
    steps.needs_attention(real_ledger, real_ledger.get(found[State.IN_DOUBT]))
    differs = real_ledger.accept(a_request("a boat that is too short"), Terms(tenant="shop")).job_id
    media = Media(duration_s=4, width=1280, height=720, video_codec="h264", mismatch=(Mismatch("duration", 8, 4),))
    steps.completed(real_ledger, steps.walked(real_ledger, differs, State.STORING), steps.STORED, media)
    held = real_ledger.accept(a_request("a boat that is held"), Terms(tenant="shop")).job_id
    steps.held(real_ledger, real_ledger.get(held), 60, Hold.THROTTLED, "slow down")
    real_ledger.breakers.refused(Breaker.SUBMIT, Hold.OUT_OF_CREDITS, "no credits left", terms=TERMS)
    real_ledger.pauses.pause(by="ops", reason="the budget is used up", what="tenant:shop")
    endpoint = Endpoints(Scripts(client, retention=Retention(), clock=None, subscribers=())).add("https://a.example")
    for delivered in (True, False):
        line = DeliveryLine(differs, "job.completed", delivered=delivered, tries=1, took_s=0.1, message="an answer")
        outbox_of(client).report(endpoint.id, "slot", [Attempt(line)], ReceiverTerms(width=1, longest_s=1))
    return [*found.values(), differs, held]


@pytest.fixture(params=list(WHO))
def visitor(
    request: pytest.FixtureRequest, chromium: Browser, api: Api, keyed: Api, access: Keys
) -> Iterator[tuple[Tab, list[Scope]]]:
    """A tab of each kind of visitor, signed in, and the scopes that it has."""
    scopes = WHO[request.param]
    with a_tab(chromium, keyed.url if scopes else api.url) as tab:
        if scopes:
            tab.sign_in(access.issue("shop", scopes).token)
        yield tab, scopes or list(Scope)


def pages(jobs: list[str], scopes: list[Scope]) -> list[str]:
    """Return the pages that scopes open, and one that they don't."""
    new = ["/new", "/new?model=google/veo-3.0-i2v", "/new?model=vendor/other"] if Scope.SUBMIT in scopes else []
    operate = ["/operate"] if Scope.ADMIN in scopes else []
    read = ["/", "/?q=boat&status=failed", "/?q=nothing", "/gallery", "/gallery?q=nothing"]
    return [*read, *(f"/jobs/{job_id}" for job_id in jobs), *new, *operate, "/jobs/job_01kb0000000000000000000000"]


def violations(page: Page) -> list[str]:
    """Return what axe-core finds with all that is folded open, in light and in dark."""
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    page.evaluate(AXE)
    found: list[str] = page.evaluate(JUDGE, RULES)
    page.emulate_media(color_scheme="dark")
    found += page.evaluate(JUDGE, ["color-contrast"])
    page.emulate_media(color_scheme="light")
    return [f"{page.url}: {each}" for each in found]


@pytest.mark.long
@pytest.mark.timeout(300)
def test_axe_finds_nothing_on_any_page(jobs: list[str], visitor: tuple[Tab, list[Scope]]) -> None:
    """For each kind of visitor, with jobs in every state, in light and in dark."""
    tab, scopes = visitor

    found = [each for path in pages(jobs, scopes) for each in violations(tab.open(path))]

    assert not found, "\n".join(found)


def test_axe_finds_nothing_in_what_forms_answer(tab: Tab, tmp_path: Path, keyed_tab: Tab) -> None:
    """Errors beside their fields, a refused file, a checked one, an accepted one, a new key, a refused sign-in."""
    file = tmp_path / "spring.csv"

    def checked(text: str) -> Page:
        file.write_text(text)
        page = tab.open("/new")
        page.locator("[data-file] input[type=file]").set_input_files(file)
        page.get_by_role("button", name="Check the file").click()
        return page

    def wrong(page: Page) -> None:
        page.get_by_label("Prompt", exact=True).fill("a boat")
        page.get_by_label("seed").fill("many")
        page.get_by_role("button", name="Submit").click()

    def issued(page: Page) -> None:
        page.get_by_label("Tenant", exact=True).fill("shop")
        page.get_by_role("button", name="Issue a key").click()

    def refused(page: Page) -> None:
        page.get_by_label("In flight").fill("many")
        page.get_by_role("button", name="Set limits").click()

    found = []
    for path, act in (("/new", wrong), ("/operate", issued), ("/operate", refused)):
        act(tab.open(path))
        found += violations(tab.page)
    found += violations(checked("prompt,duration\na boat,5\n"))
    found += violations(checked("prompt,duration\na boat,4\n"))
    tab.page.get_by_role("button", name="Submit 1 request").click()
    found += violations(tab.page)
    found += violations(keyed_tab.open("/"))
    found += violations(keyed_tab.sign_in("wrong"))

    assert not found, "\n".join(found)


def test_nothing_scrolls_sideways_on_a_telephone(chromium: Browser, api: Api, jobs: list[str], access: Keys) -> None:
    """On no page, with all that is folded open."""
    access.issue("shop", list(Scope), name="the web shop")
    with a_tab(chromium, api.url, viewport={"width": 360, "height": 740}) as tab:
        for path in pages(jobs, list(Scope)):
            page = tab.open(path)
            page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
            assert page.evaluate(SIDEWAYS) == [], path


@pytest.mark.parametrize(
    "path", ["/", "/gallery", "/new", "/operate", "/jobs/{doubt}", "/jobs/{failed}", "/jobs/{done}"]
)
def test_the_keyboard_reaches_every_action(tab: Tab, jobs: list[str], path: str) -> None:
    """In one walk by Tab, and each stop shows that it has the focus."""
    by_state = dict(zip(State, jobs, strict=False))
    page = tab.open(
        path.format(doubt=by_state[State.IN_DOUBT], failed=by_state[State.FAILED], done=by_state[State.COMPLETED])
    )
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    wanted: list[str] = page.evaluate(STOPS)

    reached = set(_walk(page, len(wanted) + 20))

    assert [stop for stop in wanted if (stop, True) not in reached] == []


def _walk(page: Page, most: int) -> Iterator[tuple[str, bool]]:
    """Press Tab; yield where that leads, and whether it can be seen to have the focus."""
    for _ in range(most):
        page.keyboard.press("Tab")
        stop, is_seen = page.evaluate(FOCUSED)
        yield stop, is_seen
