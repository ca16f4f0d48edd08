"""Facts from the upstream and the archive: made at the border, matched exhaustively inside."""

from dataclasses import dataclass

from jobs.artifacts import Artifact
from jobs.job import Charged, Hold, Stored, Video
from jobs.media import Media


@dataclass(frozen=True, slots=True)
class Accepted:
    """The upstream accepted the request: something was bought."""

    generation_id: str
    cost_usd: float | None


@dataclass(frozen=True, slots=True)
class NotBought:
    """Provably nothing was bought, and the same request may go through later."""

    hold: Hold
    message: str
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """Provably nothing was bought, and the same request will never go through.

    `by_filter`: the upstream's safety filter refused the content.
    """

    message: str
    by_filter: bool = False


@dataclass(frozen=True, slots=True)
class Unknown:
    """The request was sent and its outcome is unknown: it must not be sent again."""

    message: str


@dataclass(frozen=True, slots=True)
class LogRow:
    """One line of the upstream's request log: a purchase with our request id."""

    request_id: str
    generation_id: str
    cost_usd: float | None


Receipt = Accepted | NotBought | Rejected | Unknown


@dataclass(frozen=True, slots=True)
class Pending:
    """The generation is not done yet; `word` is the upstream's status."""

    word: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The generation is done and its video can be fetched; `note` says what was odd about the reply."""

    video: Video
    note: str | None = None


@dataclass(frozen=True, slots=True)
class GenerationFailed:
    """The upstream ended it without a video. Failed generations are not charged, unless the reply says so.

    `by_filter`: the upstream's safety filter refused the content.
    """

    message: str
    charged: Charged = Charged.NO
    by_filter: bool = False


@dataclass(frozen=True, slots=True)
class NoResult:
    """The reply, or its absence, says nothing about the generation; poll again later.

    `timed_out`: the poll was ended by its own time-out; with a longer one it might be answered.
    """

    hold: Hold
    message: str
    retry_after_s: float | None = None
    timed_out: bool = False


@dataclass(frozen=True, slots=True)
class Inconclusive:
    """A reply that proves nothing alone; after `polls` in a row with the same `evidence` it means `outcome`."""

    word: str
    evidence: str
    outcome: Finished | GenerationFailed
    polls: int


PollResult = Pending | Finished | GenerationFailed | NoResult | Inconclusive


@dataclass(frozen=True, slots=True)
class Fetched:
    """The bytes are stored; `media` describes them, if they could be probed."""

    stored: Stored
    media: Media | None = None


@dataclass(frozen=True, slots=True)
class Gone:
    """The URL no longer serves the video; a fresh poll may return another URL."""

    message: str


@dataclass(frozen=True, slots=True)
class NotFetched:
    """The bytes could not be fetched from the URL this time, or were not a video."""

    message: str


@dataclass(frozen=True, slots=True)
class ArchiveUnavailable:
    """The archive could not keep the bytes this time; the URL is not to blame."""

    message: str


Download = Fetched | Gone | NotFetched | ArchiveUnavailable


@dataclass(frozen=True, slots=True)
class Described:
    """The artifacts now beside the video; `trouble` says why one is missing for good."""

    made: tuple[Artifact, ...]
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class NotDescribed:
    """The store could not be used: try again later."""

    message: str
