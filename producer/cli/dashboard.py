"""The screen of `rushes watch`: what holds jobs, how many there are, the newest ones, and keys to act on one."""

import webbrowser
from collections.abc import Callable, Sequence
from typing import Annotated, Final

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from jobs.errors import JobError
from jobs.job import Job, VideoRequest
from jobs.moves.request import Retry, on_retry
from jobs.states import Status
from producer.cli.display import card, job_table
from producer.cli.exits import explained
from producer.cli.job_changes import retried_text
from producer.cli.keyboard import DOWN, ENTER, UP, keyboard
from producer.cli.open_page import has_browser, page_address
from producer.cli.reconnecting import REFRESH_S, Reconnecting
from producer.cli.session import Session
from producer.cli.status import counts_text, doubt_lines, sentences
from producer.cli.visible import visible
from producer.costs import cancel_costs, cancelled, retry_costs
from producer.service import Selection
from producer.status import status_of

_KEYS: Final = "↑ ↓ select   enter show   f filter   c cancel   r retry   o open   q quit"
_FILTERS: Final[Sequence[Status | None]] = (None, *Status)

Found = tuple[Job, VideoRequest]


def watch(*, limit: Annotated[int, typer.Option(min=1, max=100, help="The largest number of jobs.")] = 15) -> None:
    """Show the newest jobs live, and what holds them; keys select, filter, cancel, retry and open one."""
    with explained():
        session = Session()
        if session.out.is_terminal:
            _show_live(session, limit)
        else:
            session.out.print(Screen(session, limit, keys="").view)


def _show_live(session: Session, limit: int) -> None:
    """Show the jobs until `q` or Ctrl-C, which ends the command and no job."""
    screen = Screen(session, limit)
    with keyboard() as key_within, Live(screen.view, console=session.screen, screen=True, auto_refresh=False) as live:
        while True:
            live.refresh()
            key = key_within(REFRESH_S)
            if key == "q":
                return
            if key:
                screen.press(key)
            screen.view.refresh()


class Screen:
    """What the person has chosen, and the picture of it."""

    def __init__(self, session: Session, limit: int, *, keys: str = _KEYS) -> None:
        self._limit = limit
        self._keys = keys
        self._jobs: Sequence[Found] = ()
        self._selected: str | None = None
        self._filter = 0
        self._shows_card = False
        self._question: tuple[str, Callable[[Session], str]] | None = None
        self._said = ""
        self.view = Reconnecting(session, self.picture)

    def picture(self, session: Session) -> RenderableType:
        """Read the ledger and format what a person keeps in view."""
        self._session = session
        status = status_of(session.service, session.receivers, session.settings)
        chosen = _FILTERS[self._filter]
        selection = Selection((chosen,) if chosen else ())
        self._jobs = session.service.page(selection, limit=self._limit).jobs
        doubts = [line for doubt in status["doubts"] or () for line in doubt_lines(doubt)]
        head = [*sentences(status), *doubts, counts_text(status["states"]), *self._lines(chosen)]
        if not (found := self._found()):
            return Group(*head, Text("no job fits"))
        self._selected = found[0].id  # a newer job must not slip under the key that is about to be pressed
        why = session.service.waiting(found[0])
        if self._shows_card:
            archive = session.settings.archive_root
            return Group(*head, card(*found, archive, session.service.eta(found[0]), why_waiting=why))
        etas = session.service.etas([job for job, _ in self._jobs])
        return Group(
            *head, job_table(self._jobs, status["at"], etas, marked=self._index()), Text(), Text(visible(why or ""))
        )

    def press(self, key: str) -> None:
        """Do what a key means; while there is a question, `y` agrees and any other key does not."""
        self._said = ""
        if self._question:
            _, act = self._question
            self._question = None
            self._said = self._tried(act) if key == "y" else "Nothing was changed."
            return
        match key:
            case "f":
                self._filter = (self._filter + 1) % len(_FILTERS)
            case str() if key in UP:
                self._select(-1)
            case str() if key in DOWN:
                self._select(1)
            case str() if key in ENTER:
                self._shows_card = not self._shows_card
            case "c" | "r" | "o" if found := self._found():
                {"c": self._cancel, "r": self._retry, "o": self._open}[key](found[0])
            case _:
                pass

    def _lines(self, chosen: Status | None) -> list[Text]:
        asked = f"{self._question[0]} Go on? y/n" if self._question else self._said
        shown = f"   only {chosen}" if chosen else ""
        return [Text(visible(asked), style="bold") if asked else Text(self._keys + shown, style="dim"), Text()]

    def _index(self) -> int:
        """Return the selected job's place; one that is no longer listed gives way to the first."""
        ids = [job.id for job, _ in self._jobs]
        return ids.index(self._selected) if self._selected in ids else 0

    def _found(self) -> Found | None:
        return self._jobs[self._index()] if self._jobs else None

    def _select(self, by: int) -> None:
        if self._jobs:
            self._selected = self._jobs[min(max(self._index() + by, 0), len(self._jobs) - 1)][0].id

    def _cancel(self, job: Job) -> None:
        costs = cancel_costs(job, keeps=self._session.settings.late_fetch.keep_cancelled)
        if job.is_final:
            self._said = f"{job.id} is already {job.state}."
        else:
            self._question = costs, lambda session: cancelled(session.service.cancel(job.id))

    def _retry(self, job: Job) -> None:
        match on_retry(job, pay_again=False):
            case _ if job.retried_as is not None:
                self._said = f"{job.id} was retried before, as {job.retried_as}."
            case Retry.HAS_ITS_VIDEO:
                self._said = f"{job.id} has its video."
            case Retry.NOT_OVER:
                self._said = f"{job.id} is {job.state}: it goes on by itself."
            case decision:
                buys = decision is Retry.WOULD_PAY
                self._question = (
                    retry_costs(job),
                    lambda session: retried_text(job.id, session.service.retry(job.id, pay_again=buys)),
                )

    def _open(self, job: Job) -> None:
        address = page_address(self._session.settings, job.id)
        self._said = address
        if has_browser():
            webbrowser.open(address)

    def _tried(self, act: Callable[[Session], str]) -> str:
        try:
            return act(self._session)
        except JobError as error:
            return f"It was not done: {error}"
