"""The picture of `rushes watch`: what holds jobs, their number in each state, and the newest ones."""

from rich.console import Group, RenderableType
from rich.text import Text

from producer.cli.display import job_table
from producer.cli.session import Session
from producer.cli.status import counts_text, doubt_lines, sentences
from producer.service import Selection
from producer.status import status_of


def dashboard(session: Session, limit: int) -> RenderableType:
    """Read the ledger and format what a person keeps in view."""
    status = status_of(session.service, session.receivers, session.settings)
    jobs = session.service.page(Selection(), limit=limit).jobs
    etas = session.service.etas([job for job, _ in jobs])
    doubts = [line for doubt in status["doubts"] or () for line in doubt_lines(doubt)]
    summary = counts_text(status["states"])
    return Group(*sentences(status), *doubts, summary, Text(), job_table(jobs, status["at"], etas))
