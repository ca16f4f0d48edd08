"""Signing in: a key becomes a session, which shows what the key may see and ends with it."""

import re
import time
from typing import Final

import pytest
import redis
import requests
from playwright.sync_api import Browser, expect

from jobs.job import Terms
from jobs.ledger import Ledger
from jobs.states import State
from producer.keys import Issued, Keys, Scope
from tests import steps
from tests.api.conftest import Api
from tests.page.conftest import Tab, a_tab
from tests.stage import a_request, eventually

BOTH: Final = (Scope.SUBMIT, Scope.READ)
PAGES: Final = ("/", "/gallery", "/new", "/operate", "/jobs/job_01kb0000000000000000000000")
FORMS: Final = (
    "/new", "/new/file", "/signout", "/operate/pause", "/operate/resume", "/operate/issue", "/operate/revoke",
    "/operate/limit", "/operate/unset", "/operate/endpoint", "/operate/endpoint/change",
    *(f"/jobs/job_01kb0000000000000000000000/{verb}" for verb in ("cancel", "retry", "erase", "redeliver", "decide")),
)  # fmt: skip


class Browsing:
    """A program that behaves as a browser with a session does."""

    def __init__(self, keyed: Api, issued: Issued, **headers: str) -> None:
        self.url = keyed.url
        self.session = requests.Session()
        self.session.headers.update({"origin": keyed.url, **headers})
        answer = self.session.post(f"{self.url}/signin", {"key": issued.token}, allow_redirects=False, timeout=30)
        assert answer.status_code == 303, answer.text
        self.cookie = answer.headers["set-cookie"]

    def get(self, path: str) -> requests.Response:
        """GET without following redirects."""
        return self.session.get(self.url + path, allow_redirects=False, timeout=30)

    def token(self) -> str:
        """Read the token of this session's forms."""
        found = re.search(r'name="token" value="(\w+)"', self.get("/").text)
        assert found
        return found[1]

    def post(self, path: str, form: dict[str, str], **headers: str) -> requests.Response:
        """POST a form without following redirects."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.session.post(self.url + path, form, headers=named, allow_redirects=False, timeout=30)


def test_a_key_opens_the_page_that_was_asked_for(keyed_tab: Tab, keyed: Api, access: Keys) -> None:
    """A wrong one does not; the key is in no URL, cookie, storage or log."""
    issued = access.issue("shop", BOTH)
    page = keyed_tab.sign_in("rushes_0123456789abcdef_wrong", "/gallery?q=boat")
    expect(page.get_by_role("alert")).to_contain_text("This key is unknown, expired or revoked.")

    page.get_by_label("API key").fill(issued.token)
    page.get_by_role("button", name="Sign in").click()

    page.wait_for_url("**/gallery?q=boat")
    (cookie,) = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["secure"]) == (True, "Strict", False)
    secret = issued.token.split("_", 2)[2]
    assert secret not in cookie["value"]
    assert page.evaluate("document.cookie + JSON.stringify(localStorage)") == "{}"
    assert not [url for url in keyed_tab.asked_for if secret in url]
    assert secret not in page.content()
    assert secret not in keyed.log.read_text()


def test_signing_out_ends_the_session(keyed_tab: Tab, keyed: Api, access: Keys) -> None:
    """Also for who has kept its cookie."""
    page = keyed_tab.sign_in(access.issue("shop", BOTH).token)
    (cookie,) = page.context.cookies()

    page.get_by_role("button", name="Sign out").click()

    expect(page.get_by_label("API key")).to_be_visible()
    assert page.context.cookies() == []
    kept = requests.get(keyed.url, cookies={cookie["name"]: cookie["value"]}, allow_redirects=False, timeout=30)
    assert (kept.status_code, kept.headers["location"]) == (303, "./signin?next=&ended=1")


def test_a_session_ends_at_once_with_its_key(keyed: Api, access: Keys) -> None:
    """Whether it is revoked or expires."""
    revoked, short = access.issue("shop", BOTH), access.issue("shop", BOTH, life_s=2)
    one, other = Browsing(keyed, revoked), Browsing(keyed, short)
    assert one.get("/").status_code == 200

    access.revoke(revoked.key.id)

    assert one.get("/").headers["location"] == "./signin?next=&ended=1"
    eventually(lambda: other.get("/").status_code == 303, within_s=10, what="the end of the key")


def test_an_open_page_leaves_when_its_key_ends(keyed_tab: Tab, access: Keys) -> None:
    """Its stream asks again and again, as the API's does."""
    issued = access.issue("shop", BOTH)
    page = keyed_tab.sign_in(issued.token)
    expect(page.locator(".tiles")).to_be_visible()

    access.revoke(issued.key.id)

    expect(page.get_by_label("API key")).to_be_visible(timeout=20_000)


def test_redis_holds_neither_key_nor_cookie(keyed: Api, access: Keys, client: "redis.Redis") -> None:
    """Who reads it cannot sign in; a session has a life."""
    issued = access.issue("shop", BOTH)
    browsing = Browsing(keyed, issued)
    value = browsing.cookie.partition("=")[2].partition(";")[0]

    (name,) = client.keys("rushes:session:*")

    stored = str([name, client.get(name)])
    assert value not in stored
    assert issued.token.split("_", 2)[2] not in stored
    assert 0 < client.ttl(name) <= 12 * 3600


def test_by_https_the_cookie_is_secure(keyed: Api, access: Keys) -> None:
    """And only this very host can set it."""
    cookie = Browsing(keyed, access.issue("shop", BOTH), **{"x-forwarded-proto": "https"}).cookie

    assert cookie.startswith("__Host-rushes=")
    for part in ("Secure", "HttpOnly", "SameSite=strict", "Path=/"):
        assert part in cookie


def test_a_tenant_sees_its_own_only(keyed: Api, access: Keys, real_ledger: Ledger) -> None:
    """Lists, counts, jobs, files and actions; another's job is unknown."""
    theirs = real_ledger.accept(a_request("a secret boat"), Terms(tenant="office")).job_id
    mine = real_ledger.accept(a_request("my boat"), Terms(tenant="shop")).job_id
    browsing = Browsing(keyed, access.issue("shop", BOTH))

    now = browsing.get("/").text

    assert "my boat" in now
    assert "secret" not in now
    assert re.search(r'class="tile queued"[^>]*><b>1</b>', now)
    assert "secret" not in browsing.get("/?tenant=office").text
    assert browsing.get(f"/jobs/{mine}").status_code == 200
    for path in (f"/jobs/{theirs}", f"/jobs/{theirs}/video", f"/jobs/{theirs}/poster"):
        assert browsing.get(path).status_code == 404
    for verb in ("cancel", "retry", "redeliver"):
        assert browsing.post(f"/jobs/{theirs}/{verb}", {"token": browsing.token()}).status_code == 404
    assert "secret" not in browsing.get(f"/new?from={theirs}").text
    assert real_ledger.get(theirs).state is State.QUEUED


def test_a_key_that_may_only_read_finds_no_buttons(
    keyed_tab: Tab, keyed: Api, access: Keys, real_ledger: Ledger
) -> None:
    """The page says so; a form that is posted all the same is refused."""
    job_id = real_ledger.accept(a_request("my boat"), Terms(tenant="shop")).job_id
    reader = access.issue("shop", [Scope.READ])
    page = keyed_tab.sign_in(reader.token, f"/jobs/{job_id}")

    expect(page.get_by_role("heading", level=1)).to_have_text("my boat")
    expect(page.get_by_role("link", name="New")).to_have_count(0)
    expect(page.locator("main").get_by_role("button")).to_have_count(0)
    expect(page.locator(".who")).to_contain_text("shop, read only")
    browsing = Browsing(keyed, reader)
    refused = browsing.post(f"/jobs/{job_id}/cancel", {"token": browsing.token()})
    assert refused.status_code == 403
    assert "This needs a key with the scope <code>submit</code>" in refused.text
    for path in ("/new", "/operate"):
        assert browsing.get(path).status_code == 403
        assert "Sign in with another key" in browsing.get(path).text


@pytest.mark.parametrize("path", PAGES)
def test_every_page_asks_for_a_key(keyed: Api, path: str) -> None:
    """What a page loads gets 401; the stream too."""
    answer = requests.get(keyed.url + path, allow_redirects=False, timeout=30)

    assert answer.status_code == 303
    assert "signin?next=" in answer.headers["location"]
    part = requests.get(keyed.url + path, headers={"sec-fetch-dest": "empty"}, allow_redirects=False, timeout=30)
    assert part.status_code == 401
    assert requests.get(f"{keyed.url}/live", headers={"sec-fetch-dest": "empty"}, timeout=30).status_code == 401


@pytest.mark.parametrize("path", FORMS)
def test_no_form_is_taken_from_elsewhere(keyed: Api, access: Keys, path: str) -> None:
    """Without a session; from another origin, or from nowhere; without the token, or with another session's."""
    everything = access.issue("shop", list(Scope))
    browsing, other = Browsing(keyed, everything), Browsing(keyed, everything)
    token = browsing.token()

    nobody = requests.post(keyed.url + path, {"token": token}, allow_redirects=False, timeout=30)
    assert nobody.status_code == 401
    for headers in (
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "none"},
    ):
        refused = browsing.post(path, {"token": token}, **headers)
        assert refused.status_code == 403, headers
        assert "not sent by a page of this address" in refused.text
    for wrong in ({"other": "x"}, {"token": other.token()}, {"token": "ü"}):
        assert "another session" in browsing.post(path, wrong).text
    assert browsing.get("/").status_code == 200


def test_forms_are_guarded_without_keys_too(api: Api, real_ledger: Ledger) -> None:
    """A page that some other program on this machine serves may not pause buying."""
    for headers in ({"origin": "http://127.0.0.1:1"}, {"origin": api.url}, {}):
        answer = requests.post(f"{api.url}/operate/pause", {"reason": "x"}, headers=headers, timeout=30)
        assert answer.status_code == 403
    assert real_ledger.pauses.current() == {}


def test_the_api_takes_no_cookie(keyed: Api, access: Keys) -> None:
    """What a browser sends by itself opens nothing below /v1 and /v2."""
    browsing = Browsing(keyed, access.issue("shop", list(Scope)))

    assert browsing.get("/v1/videos").status_code == 401
    assert browsing.post("/v1/queue/pause", {}).status_code == 401


@pytest.mark.parametrize("wanted", ["//evil.example", "https://evil.example", "\\evil.example", "x/../../y", "a:b"])
def test_signing_in_leads_nowhere_else(keyed: Api, access: Keys, wanted: str) -> None:
    """However the link was made."""
    form = {"key": access.issue("shop", BOTH).token, "next": wanted}

    answer = requests.post(
        f"{keyed.url}/signin", form, headers={"origin": keyed.url}, allow_redirects=False, timeout=30
    )

    assert answer.headers["location"] == "./"


def test_a_session_counts_against_its_keys_limit(keyed: Api, access: Keys) -> None:
    """As the key's own requests do."""
    browsing = Browsing(keyed, access.issue("shop", BOTH))

    first, second = (browsing.get("/").headers["ratelimit"] for _ in range(2))

    left = [int(re.findall(r"r=(\d+)", level)[0]) for level in (first, second)]
    assert left[1] < left[0]


def test_an_end_of_many_pages_is_told_by_one_reader(
    chromium: Browser, keyed: Api, access: Keys, real_ledger: Ledger
) -> None:
    """Pages that are open, and not hidden, share the process's reader of the event stream; a hidden one has none."""
    token = access.issue("shop", [*BOTH, Scope.METRICS]).token
    job = steps.walked(
        real_ledger, real_ledger.accept(a_request("my boat"), Terms(tenant="shop")).job_id, State.RENDERING
    )

    def subscribers() -> int:
        text = Api(keyed.url, keyed.log, token).get("/metrics").text
        return int(float(re.findall(r"^rushes_api_subscribers ([\d.]+)", text, re.MULTILINE)[0]))

    with a_tab(chromium, keyed.url) as tab:
        page = tab.sign_in(token)
        others = [page.context.new_page() for _ in range(2)]
        for other in others:
            other.goto(f"{keyed.url}/jobs/{job.id}")
        eventually(lambda: subscribers() == 3, what="three streams")
        steps.rendered(real_ledger, real_ledger.get(job.id), steps.VIDEO)
        for each in (page, *others):
            expect(each.locator(".badge").first).to_have_text("storing")
        began = time.monotonic()
    eventually(lambda: subscribers() == 0, what="the end of the streams")
    assert time.monotonic() - began < 30
