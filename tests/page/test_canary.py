"""Markup in whatever a stranger may write is shown as text on every page, and runs nowhere."""

import json
from pathlib import Path
from typing import Final

import redis
from playwright.sync_api import Page, expect

from config.webhook_endpoints import Endpoints
from jobs.breakers import Breaker, BreakerTerms
from jobs.job import Hold, Terms, VideoRequest
from jobs.ledger import Ledger
from jobs.media import Media, Mismatch
from jobs.scripts import Retention, Scripts
from jobs.states import State
from producer.keys import Keys, Scope
from tests import steps
from tests.api.conftest import described
from tests.page.conftest import Tab

BIRDS: Final = (
    "<script>window.sang = 1</script>",
    '"><img src=x onerror="window.sang = 2">',
    "'><svg onload='window.sang = 3'></svg>",
    "</textarea></pre></title><iframe srcdoc='<script>parent.sang = 4</script>'></iframe>",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:window.sang=5//",
)
BIRD: Final = " ".join(BIRDS)
TERMS: Final = BreakerTerms(first_s=60, longest_s=60, after=1)


def listen(page: Page) -> None:
    """Open all that is folded, wait a moment of the page's own, and hear nothing."""
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done, 50)))")
    assert page.evaluate("window.sang") is None
    assert page.locator("main iframe, main script, main [onload], main [onerror]").count() == 0
    assert page.locator("a[href^='javascript:']").count() == 0


def test_nothing_of_a_strangers_runs(tab: Tab, real_ledger: Ledger, archive: Path, client: "redis.Redis") -> None:
    """Prompt, model, labels, tenant, parameters, file, upstream's words, receivers, key's name, pause, query."""
    request = VideoRequest(
        BIRD[:190], BIRD, {"seed": 1, BIRD[:100]: BIRD}, {BIRD[:60]: BIRD}, "https://a.example/?" + BIRD
    )
    terms = Terms(tenant=BIRD[:60])
    jobs = [real_ledger.accept(request, terms).job_id for _ in range(5)]
    failed, doubtful, held, done, running = jobs
    steps.walked(real_ledger, failed, State.FAILED, message=BIRD)
    steps.needs_attention(real_ledger, steps.walked(real_ledger, doubtful, State.IN_DOUBT))
    steps.held(real_ledger, real_ledger.get(held), 60, Hold.THROTTLED, BIRD)
    steps.walked(real_ledger, running, State.RENDERING, generation_id=BIRD)
    media = Media(video_codec=BIRD, width=1, height=1, mismatch=(Mismatch(BIRD, BIRD, BIRD),))
    job = steps.walked(real_ledger, done, State.STORING, generation_id=BIRD)
    steps.completed(real_ledger, job, steps.STORED, media)
    described(real_ledger, real_ledger.accept(request, terms).job_id, archive)
    real_ledger.breakers.refused(Breaker.SUBMIT, Hold.THROTTLED, BIRD, terms=TERMS)
    real_ledger.pauses.pause(by=BIRD, reason=BIRD)
    real_ledger.worker_seen(BIRD, BIRD)
    Keys(client).issue("shop", [Scope.READ], name=BIRD)
    scripts = Scripts(client, retention=Retention(), clock=None, subscribers=())
    Endpoints(scripts).add("https://a.example/" + BIRD, description=BIRD, tenant=BIRD[:60])

    for path in ("/", "/gallery", "/operate", *(f"/jobs/{job_id}" for job_id in jobs), f"/new?from={done}"):
        listen(tab.open(path))
    page = tab.open("/")
    expect(page.locator(".prompt").first).to_have_text(BIRD)
    page.goto(
        f"{tab.url}/?" + "&".join(f"{name}={json.dumps(BIRD)}" for name in ("q", "model", "label", "tenant", "status"))
    )
    listen(page)
    for path in (f"/gallery?q={BIRD}", f"/new?model={BIRD}&prompt={BIRD}", f"/jobs/{BIRD}", f"/signin?next={BIRD}"):
        listen(tab.open(path))


def test_nothing_in_a_file_or_a_refused_form_runs(tab: Tab, tmp_path: Path) -> None:
    """Neither its rows nor its name, whether they are valid or not."""
    file = tmp_path / "<img src=x onerror='window.sang = 6'>.jsonl"
    for rows in ([{"prompt": BIRD}], [{"prompt": BIRD, BIRD: 1, "model": BIRD}, {"prompt": BIRD, "duration": BIRD}]):
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        page = tab.open("/new")
        page.locator("[data-file] input[type=file]").set_input_files(file)
        page.get_by_role("button", name="Check the file").click()
        expect(page.locator("h1")).to_contain_text("<img")
        listen(page)
    page = tab.open("/new")
    page.get_by_label("Prompt", exact=True).fill(BIRD)
    page.get_by_label("seed").fill(BIRD)
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("alert")).to_be_visible()
    listen(page)
