"""What the page does: submit, cancel, retry, decide, deliver again, pause, issue keys."""

import re
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
import redis
import requests
from playwright.sync_api import Browser, expect

from config.webhook_endpoints import Endpoints
from jobs.breakers import Breaker, BreakerTerms
from jobs.delivery import DeliveryLine
from jobs.job import Hold, Priority, Terms
from jobs.ledger import Ledger
from jobs.outbox import Attempt, ReceiverTerms
from jobs.scripts import Retention, Scripts
from jobs.states import State
from producer.keys import Keys, Scope
from producer.page.compose import MOST_ROWS
from producer.webhooks import make_webhooks
from tests import steps
from tests.api.conftest import Api, completed
from tests.page.conftest import Tab, a_tab
from tests.page.test_views import a_picture
from tests.receivers import WebhookServer
from tests.stage import Stage, a_request, outbox_of

PNG: Final = a_picture("navy")


def tomorrow() -> str:
    """This time tomorrow, as a picker has it."""
    return f"{datetime.now() + timedelta(days=1):%Y-%m-%dT%H:%M}"  # noqa: DTZ005 (the browser's own time zone)


# -- new ------------------------------------------------------------------------------------------------------------


def test_a_form_made_from_the_schema_submits(tab: Tab, real_ledger: Ledger) -> None:
    """With parameters of the right types, labels, and a picture from a file."""
    page = tab.open("/new")
    page.get_by_label("Prompt", exact=True).fill("a boat")
    page.get_by_label("Model").select_option("google/veo-3.0-i2v")  # shows that model's fields, and keeps the prompt
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a boat")
    page.get_by_label("duration").select_option("4")
    page.get_by_label("generate audio").select_option("no")
    page.get_by_label("seed").fill("42")
    page.locator("input[type=file][name=image_url]").set_input_files(
        {"name": "boat.webp", "mimeType": "image/webp", "buffer": PNG}
    )
    page.locator("summary", has_text="Labels").click()
    page.get_by_label("Labels, one a line").fill("campaign=spring\nby = me")
    page.get_by_role("button", name="Submit").click()

    expect(page.locator("#head .badge")).to_have_text("queued")
    job_id = page.url.rpartition("/")[2]
    job, request = real_ledger.whole(job_id)
    assert request is not None
    assert (job.model, request.prompt) == ("google/veo-3.0-i2v", "a boat")
    picture = request.parameters.pop("image_url")  # type: ignore[attr-defined]  # a plain dict
    assert picture.startswith("data:image/webp;base64,")
    assert request.parameters == {"duration": 4, "generate_audio": False, "seed": 42}
    assert request.metadata == {"campaign": "spring", "by": "me"}


def test_the_form_has_the_terms(tab: Tab, real_ledger: Ledger) -> None:
    """Priority, the earliest time of the purchase by a picker in the visitor's own time zone, the longest wait."""
    page = tab.open("/new?prompt=a+boat&duration=4")
    page.locator("summary", has_text="When it is bought").click()
    page.get_by_label("Priority").select_option("high")
    page.get_by_label("your time").fill(tomorrow())
    page.get_by_label("Give up after").fill("90000")
    page.get_by_role("button", name="Submit").click()

    expect(page.locator("#head")).to_contain_text("It may be bought")
    job = real_ledger.get(page.url.rpartition("/")[2])
    assert job.priority is Priority.HIGH
    assert job.due_at is not None
    assert 80_000 < job.due_at - job.accepted_at <= 2 * 86_400
    assert job.deadline_at - job.accepted_at == pytest.approx(90_000)


@pytest.mark.parametrize(("label", "field"), [("Not before", "not_before"), ("Give up after", "queue_ttl_s")])
def test_wrong_terms_are_said_beside_their_field(tab: Tab, real_ledger: Ledger, label: str, field: str) -> None:
    """Nothing is submitted, and what was typed stays."""
    page = tab.open("/new?prompt=a+boat")
    page.locator("summary", has_text="When it is bought").click()
    page.get_by_label(label).first.fill("tonight")
    page.get_by_role("button", name="Submit").click()

    expect(page.locator(f"#error-{field}")).to_be_visible()
    expect(page.locator(f"#{field}")).to_have_value("tonight")
    assert real_ledger.page() == []


def test_the_form_says_what_the_request_costs(tab: Tab, api: Api, real_ledger: Ledger) -> None:
    """As the newest purchases like it cost, by their length; it follows the form."""
    page = tab.open("/new")
    expect(page.locator("#price")).to_have_text("The price is not known before the first one like it is bought.")
    steps.walked(real_ledger, api.submit("a boat", seconds="8")["id"], State.RENDERING, cost_usd=4.0)
    silent = api.submit("a boat", seconds="4", generate_audio=False)["id"]
    steps.walked(real_ledger, silent, State.RENDERING, cost_usd=1.0)

    tab.open("/new")
    expect(page.locator("#price")).to_have_text("About 4.00 USD, as the newest purchases like it cost.")
    page.get_by_label("duration").select_option("6")
    expect(page.locator("#price")).to_contain_text("About 3.00 USD")
    page.get_by_label("generate audio").select_option("no")
    expect(page.locator("#price")).to_contain_text("About 1.50 USD")


def test_what_is_wrong_is_said_beside_its_field(tab: Tab, real_ledger: Ledger) -> None:
    """Nothing is submitted, and what was typed stays."""
    page = tab.open("/new")
    page.get_by_label("Prompt", exact=True).fill("a boat")
    page.get_by_label("seed").fill("many")
    page.get_by_role("button", name="Submit").click()

    expect(page.get_by_role("alert")).to_contain_text("Nothing was submitted.")
    expect(page.locator("#error-seed")).to_contain_text("many")
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a boat")
    assert real_ledger.page() == []


def test_a_form_that_is_sent_twice_buys_once(api: Api, real_ledger: Ledger) -> None:
    """Whether by a double click or by going back; another request needs a form of its own."""
    page = requests.get(f"{api.url}/new", timeout=30).text
    hidden = dict(re.findall(r'name="(token|key|model)" value="([^"]+)"', page))

    def send(prompt: str) -> requests.Response:
        form = {**hidden, "prompt": prompt}
        same = {"sec-fetch-site": "same-origin"}
        return requests.post(f"{api.url}/new", form, headers=same, allow_redirects=False, timeout=30)

    first, second, other = send("a boat"), send("a boat"), send("another boat")

    assert first.headers["location"] == second.headers["location"]
    assert other.status_code == 422
    assert "idempotency key" in other.text
    assert len(real_ledger.page()) == 1


def test_a_file_is_checked_before_anything_is_accepted(tab: Tab, real_ledger: Ledger, tmp_path: Path) -> None:
    """Each wrong row is named; the same file never submits twice, here or from the command line."""
    page, file = tab.open("/new"), tmp_path / "spring.csv"

    def check(text: str) -> None:
        file.write_text(text)
        tab.open("/new")
        page.locator("[data-file] input[type=file]").set_input_files(file)
        expect(page.get_by_label("Name of the batch")).to_have_value("spring")
        page.get_by_role("button", name="Check the file").click()

    check("prompt,duration\na boat,4\na plane,5\na train,9\n")
    expect(page.get_by_role("alert")).to_contain_text("2 errors")
    expect(page.locator("table")).to_contain_text("line 3: duration")
    good = 'prompt,duration,metadata.campaign\na boat,4,spring\n"a plane,\nin the wind",6,\n'
    check(good)
    expect(page.locator(".notice")).to_contain_text("2 requests, all valid. The price is not known")
    assert real_ledger.page() == []
    page.get_by_role("button", name="Submit 2 requests").click()
    expect(page.locator(".notice")).to_contain_text("2 accepted.")
    check(good)
    page.get_by_role("button", name="Submit 2 requests").click()
    expect(page.locator(".notice")).to_contain_text("2 were submitted before")

    found = real_ledger.get_many(real_ledger.page())
    steps.walked(real_ledger, found[0][0].id, State.RENDERING, cost_usd=2.0)
    check(good)
    expect(page.locator(".notice")).to_contain_text(re.compile(r"2 requests, all valid\. About \d\.\d\d USD"))
    assert {request.prompt for _, request in found} == {"a boat", "a plane,\nin the wind"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\xfe\xff", "cannot be read"),
        (b"", "Choose a file"),
        (b"\n\n", "holds no requests"),
        (b'{"prompt": "a boat"}\n' * (MOST_ROWS + 1), f"may hold {MOST_ROWS} requests here"),
        (b'{"prompt": ', "is not JSON"),
    ],
)
def test_a_file_that_cannot_be_taken_is_refused(api: Api, content: bytes, words: str) -> None:
    """In a sentence."""
    token = re.findall(r'name="token" value="(\w+)"', api.get("/new").text)[0]

    answer = requests.post(
        f"{api.url}/new/file",
        {"token": token},
        files={"file": ("a.csv", content)},
        headers={"sec-fetch-site": "same-origin"},
        timeout=60,
    )

    assert words in answer.text


# -- a job's actions ------------------------------------------------------------------------------------------------


def test_a_cancel_says_what_it_saves(tab: Tab, api: Api, real_ledger: Ledger) -> None:
    """Free before the purchase; after it the page asks, and a purchase that came in between stops it."""
    free, bought, raced = (api.submit(f"boat {number}")["id"] for number in range(3))
    steps.walked(real_ledger, bought, State.RENDERING)

    page = tab.open(f"/jobs/{free}")
    expect(page.locator("#actions")).to_contain_text("cancelling it is free")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Cancel the job").click()
    expect(page.locator("#head .badge")).to_have_text("cancelled")

    tab.open(f"/jobs/{bought}")
    expect(page.locator("#actions")).to_contain_text("is already bought, at 3.36 USD; the upstream refunds nothing")
    page.get_by_role("button", name="Cancel the job").click()
    expect(page.locator("#head")).to_contain_text("cancelled after the purchase")

    token = re.findall(r'name="token" value="(\w+)"', api.get(f"/jobs/{raced}").text)[0]
    steps.walked(real_ledger, raced, State.RENDERING)
    answer = requests.post(
        f"{api.url}/jobs/{raced}/cancel",
        {"token": token, "state": "queued"},
        headers={"sec-fetch-site": "same-origin"},
        timeout=30,
    )
    assert "It was bought meanwhile, and nothing was cancelled" in answer.text
    assert real_ledger.get(raced).state is State.RENDERING


def test_a_retry_says_what_it_costs(tab: Tab, api: Api, real_ledger: Ledger) -> None:
    """And buys only what was agreed to; a second one leads to the first."""
    job = steps.walked(real_ledger, api.submit("a boat")["id"], State.FAILED)
    page = tab.open(f"/jobs/{job.id}")
    expect(page.locator("#actions")).to_contain_text("a retry buys another one; the first one was 3.36 USD.")

    page.once("dialog", lambda dialog: dialog.dismiss())
    page.get_by_role("button", name="Retry, and pay again").click()
    assert real_ledger.get(job.id).retried_as is None
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Retry, and pay again").click()

    page.wait_for_url(lambda url: job.id not in url)
    expect(page.locator("#head")).to_contain_text(f"Repeats {job.id}")
    assert real_ledger.get(job.id).retried_as == page.url.rpartition("/")[2]


def test_an_ended_job_is_erased_once_that_is_agreed(tab: Tab, api: Api, real_ledger: Ledger, archive: Path) -> None:
    """The page says first what goes for good; a job that goes on has no such button."""
    done, running = api.submit("a boat")["id"], api.submit("another boat")["id"]
    stored = completed(real_ledger, done, archive).stored
    expect(tab.open(f"/jobs/{running}").get_by_role("button", name="Erase")).to_have_count(0)

    page = tab.open(f"/jobs/{done}")
    expect(page.locator("#actions")).to_contain_text("It loses its prompt, pictures, job log and files for good.")
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.get_by_role("button", name="Erase").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("a boat")
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Erase").click()

    expect(page.locator(".job")).to_have_count(1)
    expect(tab.open(f"/jobs/{done}").get_by_role("heading", level=1)).to_have_text("The job was erased.")
    assert stored is not None
    assert not (archive / stored.path).exists()


def test_a_person_decides_a_doubt_there_and_then(tab: Tab, api: Api, real_ledger: Ledger) -> None:
    """On Now: adopt, buy again, or give it up."""
    for prompt in ("adopt me", "give me up"):
        steps.needs_attention(real_ledger, steps.walked(real_ledger, api.submit(prompt)["id"], State.IN_DOUBT))

    page = tab.open("/")
    notice = page.locator(".notice", has_text="adopt me")
    notice.locator("summary").click()
    notice.get_by_label("The generation's id").fill("generation-7")
    notice.get_by_role("button", name="adopt it").click()
    expect(page.locator("#facts")).to_contain_text("generation-7")
    expect(page.locator("#head .badge")).to_have_text("rendering")
    tab.open("/").locator(".notice", has_text="give me up").locator("summary").click()
    page.get_by_role("button", name="Give it up").click()
    expect(page.locator("#head .badge")).to_have_text("failed")


def test_a_job_is_delivered_again(
    tab: Tab, api: Api, real_ledger: Ledger, archive: Path, client: "redis.Redis"
) -> None:
    """To one of its receivers."""
    endpoint = Endpoints(Scripts(client, retention=Retention(), clock=None, subscribers=())).add("https://a.example")
    job_id = api.submit("a boat")["id"]
    completed(real_ledger, job_id, archive)
    outbox_of(client).forget(endpoint.id)

    page = tab.open(f"/jobs/{job_id}")
    page.get_by_role("button", name=f"Deliver again to {endpoint.id}").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("a boat")
    assert outbox_of(client).waiting() == {endpoint.id: 1}


# -- operate --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name", "what", "said"),
    [
        ("everything", "", None, "Buying is paused by the operator: the budget is used up."),
        ("a tenant", "shop", "tenant:shop", "Buying of tenant shop is paused by the operator"),
        ("a model", "google/veo3", "model:google/veo3", "Buying of model google/veo3 is paused by the operator"),
    ],
)
def test_buying_is_paused_and_resumed(
    tab: Tab, real_ledger: Ledger, kind: str, name: str, what: str | None, said: str
) -> None:
    """With a reason; Now shows the command that resumes as code, and a button that does it."""
    page = tab.open("/operate")
    page.get_by_label("What").select_option(kind)
    page.get_by_label("Name of the tenant or model").fill(name)
    page.get_by_label("Reason").fill("the budget is used up")
    page.get_by_role("button", name="Pause buying").click()
    expect(page.locator(".notice")).to_contain_text(said)
    assert list(real_ledger.pauses.current()) == [what]

    notices = tab.open("/").locator("#notices")
    expect(notices.locator("code").first).to_contain_text("rushes queue resume")
    notices.get_by_role("button", name="Resume buying").click()
    expect(page.get_by_role("button", name="Pause buying")).to_be_visible()
    assert real_ledger.pauses.current() == {}


def test_after_a_top_up_the_next_purchase_is_tried_by_a_button(tab: Tab, real_ledger: Ledger) -> None:
    """It stands beside the sentence that says why all wait; the page says what is tried."""
    terms = BreakerTerms(first_s=60, longest_s=120, after=1)
    real_ledger.breakers.refused(Breaker.SUBMIT, Hold.OUT_OF_CREDITS, "no credits left", terms=terms)
    page = tab.open("/")
    expect(page.locator("#notices code").first).to_contain_text("rushes queue try")

    page.locator("#notices").get_by_role("button", name="Try now").click()

    expect(page.get_by_role("alert")).to_contain_text("The next purchase is tried now; if it succeeds, all go on.")
    assert real_ledger.breakers.currently_open()[Breaker.SUBMIT].wait_s == 0
    expect(page.locator(".notice.warn")).to_contain_text("The next try is at once.")


@pytest.mark.parametrize(("kind", "name"), [("everything", "shop"), ("a model", "")])
def test_a_pause_of_something_else_than_was_meant_is_refused(
    tab: Tab, real_ledger: Ledger, kind: str, name: str
) -> None:
    """A name that was typed, but not chosen, would pause everything; what was typed stays."""
    page = tab.open("/operate")
    page.get_by_label("What").select_option(kind)
    page.get_by_label("Name of the tenant or model").fill(name)
    page.get_by_label("Reason").fill("the budget is used up")
    page.get_by_role("button", name="Pause buying").click()

    expect(page.get_by_role("alert")).to_contain_text("Nothing was paused.")
    expect(page.get_by_label("Reason")).to_have_value("the budget is used up")
    assert real_ledger.pauses.current() == {}


def test_a_limit_is_set_and_unset(tab: Tab) -> None:
    """Of one tenant; what was left empty stays as it was."""
    page = tab.open("/operate")
    page.get_by_label("Of", exact=True).fill("tenant:shop")
    page.get_by_label("In flight").fill("3")
    page.get_by_role("button", name="Set limits").click()
    page.get_by_label("Of", exact=True).fill("tenant:shop")
    page.get_by_label("Weight").fill("2")
    page.get_by_role("button", name="Set limits").click()

    row = page.locator("tr", has_text="tenant shop")
    expect(row.locator("td")).to_have_text(["tenant shop", "3", "any", "2", "Unset"])
    row.get_by_role("button", name="Unset").click()
    expect(row).to_have_count(0)


@pytest.mark.parametrize(
    ("scope", "in_flight", "said"),
    [
        ("account", "many", "Nothing was set: in_flight: must be a number from 1 to 1000000, or none"),
        ("account", "", "name at least one limit"),
        ("shop", "3", "the scope is account, tenants or tenant:NAME"),
    ],
)
def test_a_wrong_limit_sets_nothing_and_loses_nothing(tab: Tab, scope: str, in_flight: str, said: str) -> None:
    """The form says what is wrong, and shows again what was typed."""
    page = tab.open("/operate")
    page.get_by_label("Of", exact=True).fill(scope)
    page.get_by_label("In flight").fill(in_flight)
    page.get_by_role("button", name="Set limits").click()

    expect(page.get_by_role("alert")).to_contain_text(said)
    expect(page.get_by_label("Of", exact=True)).to_have_value(scope)
    expect(page.get_by_label("In flight")).to_have_value(in_flight)
    expect(page.get_by_role("button", name="Unset")).to_have_count(0)


def test_an_administrator_issues_and_revokes_keys(keyed_tab: Tab, keyed: Api, access: Keys) -> None:
    """The new key is shown once, and opens the API until it is revoked."""
    page = keyed_tab.sign_in(access.issue("office", [Scope.ADMIN]).token)
    page.wait_for_url("**/operate")  # it may not read
    keyed_tab.open("/")
    page.wait_for_url("**/operate")
    page.get_by_label("Tenant", exact=True).fill("shop")
    page.get_by_label("Name", exact=True).fill("the web shop")
    page.get_by_role("button", name="Issue a key").click()
    token = page.locator(".notice pre").inner_text()
    shop = Api(keyed.url, keyed.log, token)
    assert shop.get("/v1/videos").ok

    page.on("dialog", lambda dialog: dialog.accept())
    page.locator("tr", has_text="the web shop").get_by_role("button", name="Revoke").click()

    expect(page.locator("tr", has_text="the web shop")).to_contain_text("revoked")
    assert token not in page.content()
    assert shop.get("/v1/videos").status_code == 401


def test_an_endpoint_is_added_rotated_disabled_and_removed(tab: Tab, client: "redis.Redis") -> None:
    """Its secret is shown when it is made; a removal asks first."""
    endpoints = Endpoints(Scripts(client, retention=Retention(), clock=None, subscribers=()))
    page = tab.open("/operate")
    page.get_by_label("Address").fill("https://a.example/rushes")
    page.get_by_label("Jobs of tenant").fill("shop")
    page.locator("#events summary").click()
    page.get_by_label("job.completed", exact=True).check()
    page.get_by_role("button", name="Add an endpoint").click()
    first = page.locator(".notice pre").inner_text()
    (added,) = endpoints.all()
    assert (added.url, added.tenant, added.events) == ("https://a.example/rushes", "shop", ("job.completed",))
    assert first.startswith("whsec_")

    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="New secret").click()
    expect(page.locator(".notice pre")).not_to_have_text(first)
    page.get_by_role("button", name="Disable").click()
    expect(page.locator("tr", has_text=added.id)).to_contain_text("disabled: a person disabled it")
    page.get_by_role("button", name="Enable").click()
    expect(page.get_by_role("alert")).to_contain_text(f"{added.id} is enabled. Jobs that ended meanwhile:")
    page.get_by_role("button", name="Remove").click()
    expect(page.locator("tr", has_text=added.id)).to_have_count(0)
    assert endpoints.all() == []


def test_an_endpoints_failed_delivery_is_made_again(
    tab: Tab, api: Api, real_ledger: Ledger, archive: Path, client: "redis.Redis"
) -> None:
    """Its recent attempts say what failed and why; what arrived since needs no button."""
    endpoint = Endpoints(Scripts(client, retention=Retention(), clock=None, subscribers=())).add("https://a.example")
    outbox, jobs = outbox_of(client), [api.submit(prompt)["id"] for prompt in ("missing", "arrived")]
    for job_id in jobs:
        completed(real_ledger, job_id, archive)
    failed = DeliveryLine(jobs[0], "job.completed", False, 1, 0.2, "answered 500", answer="<b>no stock</b>")
    arrived = replace(failed, job_id=jobs[1], delivered=True, message="answered 200", tries=2, answer=None)
    tried = [failed, replace(failed, job_id=jobs[1]), arrived, replace(failed, event="job.submitted")]
    outbox.report(endpoint.id, "slot", [Attempt(line) for line in tried], ReceiverTerms(width=4, longest_s=10))
    outbox.forget(endpoint.id)

    page = tab.open("/operate")
    page.get_by_role("link", name=f"Deliveries of {endpoint.id}").click()
    rows = page.get_by_role("heading", name="Deliveries of").locator("+ table tbody tr")
    expect(rows).to_have_count(4)
    expect(rows.last).to_contain_text("answered 500<b>no stock</b>")
    page.get_by_role("button", name="Deliver ").click()

    expect(page.get_by_role("alert")).to_contain_text(f"{jobs[0]} is delivered to {endpoint.id} now")
    expect(rows).to_have_count(4)
    assert outbox.waiting() == {endpoint.id: 1}


def test_an_endpoint_is_tested(chromium: Browser, stage: Stage) -> None:
    """By a worker, and the page shows what the endpoint answered; without one it says so."""
    stage.environment |= {"RUSHES_WEBHOOKS__KEYS": "k" * 32, "RUSHES_WEBHOOKS__ALLOW_PRIVATE": "true"}
    quick = stage.environment | {"RUSHES_API__AUTH": "off", "RUSHES_API__LONGEST_WAIT_S": "10"}
    with (
        WebhookServer.started() as receiver,
        Api.started(stage.folder, quick) as api,
        a_tab(chromium, api.url) as tab,
    ):
        endpoint = make_webhooks(stage.settings).add(receiver.url)
        page = tab.open("/operate")
        with stage.worker():
            page.get_by_role("button", name="Test").click()
            expect(page.get_by_role("alert")).to_contain_text(f"{endpoint.id} took the test delivery: answered 200")
        page.get_by_role("button", name="Test").click()
        expect(page.get_by_role("alert")).to_contain_text("No worker has made the test delivery")


@pytest.mark.parametrize(
    ("url", "tenant", "said"),
    [
        ("http://a.example", "", "No endpoint was added: url must begin with https://"),
        ("https://a.example", "The Shop", "a tenant's name is up to 63 of a-z, 0-9, - and _"),
    ],
)
def test_a_wrong_endpoint_is_not_added(tab: Tab, client: "redis.Redis", url: str, tenant: str, said: str) -> None:
    """The form says why, and shows again what was typed."""
    page = tab.open("/operate")
    page.evaluate("document.querySelectorAll('[pattern]').forEach(each => each.removeAttribute('pattern'))")
    page.get_by_label("Address").fill(url)
    page.get_by_label("Jobs of tenant").fill(tenant)
    page.get_by_role("button", name="Add an endpoint").click()

    expect(page.get_by_role("alert")).to_contain_text(said)
    expect(page.get_by_label("Address")).to_have_value(url)
    assert Endpoints(Scripts(client, retention=Retention(), clock=None, subscribers=())).all() == []


def test_without_a_key_to_sign_with_the_page_says_what_to_set(keyed_tab: Tab, access: Keys) -> None:
    """No form that could only fail."""
    page = keyed_tab.sign_in(access.issue("office", [Scope.ADMIN]).token)

    expect(page.locator("#webhooks ~ p").last).to_contain_text("set RUSHES_WEBHOOKS__KEYS")
    expect(page.get_by_role("button", name="Add an endpoint")).to_have_count(0)


def test_a_key_of_a_tenant_submits_for_it(keyed_tab: Tab, access: Keys, real_ledger: Ledger) -> None:
    """As the API does."""
    page = keyed_tab.sign_in(access.issue("shop", [Scope.SUBMIT, Scope.READ]).token, "/new")
    page.get_by_label("Prompt", exact=True).fill("a boat")
    page.get_by_role("button", name="Submit").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("a boat")
    (job_id,) = real_ledger.page(tenant="shop")
    assert page.url.endswith(job_id)
    real_ledger.accept(a_request("another's"), Terms(tenant="office"))
    expect(keyed_tab.open("/").locator(".job")).to_have_count(1)
