"""Every reply to a poll that the upstream's models are known to give, and what it means for the job."""

import json
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.facts import Finished, GenerationFailed, Inconclusive, NoResult, Pending, PollResult
from jobs.job import Charged, Hold, Video
from tests.worker.test_wire import BODIES, CLOUDFLARE, HEADERS, JSON, STATUSES
from worker.upstream.polls import EMPTY_POLLS, REFUSED_POLLS, SAME_VIDEO_POLLS, read_poll

URL: Final = "https://cdn.aimlapi.com/eagle/files/tiger/R6Ld_output.mp4"
OTHER: Final = "https://cdn.aimlapi.com/eagle/files/tiger/other.mp4"
STILL: Final = "https://cdn.aimlapi.com/eagle/files/tiger/R6Ld_output.jpg"
VIDEO: Final = {"url": URL, "content_type": "video/mp4", "file_name": "output.mp4", "file_size": 3716781}
DUMMY_ERROR: Final = {"name": "Error", "message": "a documentation sample"}
SUCCESS_WORDS: Final = ["completed", "succeeded", "success", "done", "finished", "complete", "succeed", "successful"]
FAILURE_WORDS: Final = [
    *("error", "failed", "failure", "cancelled", "canceled", "expired"),
    *("rejected", "timeout", "timed_out", "aborted"),
]


def poll(reply: Any, status: int = 200, **headers: str) -> PollResult:
    """Read a JSON reply to a poll."""
    return read_poll(status, {name.replace("_", "-"): v for name, v in headers.items()}, json.dumps(reply).encode())


# Still running


@pytest.mark.parametrize(
    "word", ["queued", "generating", "waiting", "active", "unknown", "paused", "COOKING", "", "Errored", "failing"]
)
def test_a_word_that_does_not_end_a_generation_means_still_running(word: str) -> None:
    """A word that nobody knows is neither done nor failed: the deadline ends it, not a guess."""
    assert poll({"id": "g", "status": word}) == Pending(word.lower() or "no status")


@pytest.mark.parametrize("status", [None, 5, True, [], {}, ["completed"], {"completed": 1}], ids=repr)
def test_a_status_that_is_no_word_means_still_running(status: Any) -> None:
    """Not understood is not done."""
    assert poll({"status": status}) == Pending("no status")
    assert poll({}) == Pending("no status")


@pytest.mark.parametrize("word", ["queued", "generating", "waiting", "active", "processing", "in_progress", "RUNNING"])
def test_a_video_beside_a_word_for_under_way_is_no_result(word: str) -> None:
    """It may be a preview, or what was sent in."""
    assert poll({"status": word, "video": VIDEO}) == Pending(word.lower())


def test_an_unknown_id_is_no_failure() -> None:
    """Seen live: a 200 with an error and the word unknown; only the word decides."""
    reply = {"id": "", "status": "unknown", "error": {"name": "Error", "message": "task_id cannot by empty"}}
    assert poll(reply) == Pending("unknown")


# Finished


@pytest.mark.parametrize("word", [*SUCCESS_WORDS, *map(str.upper, SUCCESS_WORDS), "Completed", " succeeded "])
@pytest.mark.parametrize("error", [None, DUMMY_ERROR, "none", [], {}], ids=repr)
def test_a_success_word_with_a_video_is_finished_whatever_error_stands_beside_it(word: str, error: Any) -> None:
    """PixVerse and Seedance say succeeded; a documentation sample shows completed together with a dummy error."""
    seen = poll({"id": "g", "status": word, "video": VIDEO, "error": error})
    assert seen == Finished(Video(URL, "video/mp4", "output.mp4", 3716781))


@pytest.mark.parametrize("place", ["video", "videos", "output", "result", "data"])
@pytest.mark.parametrize(
    "held",
    [
        pytest.param(URL, id="text"),
        pytest.param([URL], id="list of texts"),
        pytest.param({"url": URL}, id="object"),
        pytest.param([{"url": URL}], id="list of objects"),
        pytest.param({"video": {"url": URL}}, id="object in an object"),
        pytest.param({"video": URL}, id="text in an object"),
        pytest.param({"videos": [{"url": URL}]}, id="list in an object"),
        pytest.param({"video_url": URL}, id="video_url"),
        pytest.param({"uri": URL}, id="uri"),
        pytest.param([[{"url": URL}]], id="list in a list"),
        pytest.param([None, 5, {}, {"url": None}, "x", {"url": URL}, {"url": OTHER}], id="first usable of a list"),
        pytest.param([{"url": STILL}, {"url": URL}], id="not the still beside it"),
        pytest.param([{"url": OTHER, "content_type": "image/png"}, URL], id="not a picture by its type"),
        pytest.param({"url": URL, "content_type": 5, "file_name": [], "file_size": "big"}, id="odd details"),
        pytest.param({"url": URL, "file_size": -1}, id="negative size"),
        pytest.param({"url": URL, "file_size": 0}, id="size zero"),
        pytest.param({"url": URL, "file_size": True}, id="boolean size"),
        pytest.param({"url": URL, "file_size": 1.5}, id="fractional size"),
        pytest.param({"url": URL, "file_size": 10**300}, id="absurd size"),
    ],
)
def test_a_video_is_found_in_every_known_place_and_shape(place: str, held: Any) -> None:
    """Runway gives a list of URLs or one as text; everything beside the URL is a courtesy."""
    assert poll({"status": "succeeded", place: held}) == Finished(Video(URL))


def test_the_documented_place_goes_before_the_others() -> None:
    """What stands elsewhere may be the input, or an older try."""
    assert poll({"status": "completed", "data": OTHER, "output": OTHER, "video": {"url": URL}}) == Finished(Video(URL))


def test_a_still_is_better_than_nothing() -> None:
    """The download says what it really is."""
    assert poll({"status": "completed", "video": STILL}) == Finished(Video(STILL))


# A success word without a video

NO_VIDEOS: Final = [
    pytest.param(None, id="null"),
    pytest.param({}, id="no url"),
    pytest.param([], id="empty list"),
    pytest.param({"url": ""}, id="empty"),
    pytest.param({"url": 5}, id="number"),
    pytest.param({"url": "output.mp4"}, id="relative"),
    pytest.param({"url": "file:///etc/passwd"}, id="file"),
    pytest.param({"url": "ftp://cdn/x.mp4"}, id="ftp"),
    pytest.param({"url": "javascript:alert(1)"}, id="script"),
    pytest.param({"url": "data:video/mp4;base64,AAAA"}, id="data"),
    pytest.param({"url": "https://"}, id="no host"),
    pytest.param({"url": "https:///x.mp4"}, id="no host but a path"),
    pytest.param({"url": "http://[bad"}, id="half an IPv6 address"),
    pytest.param({"url": "http://[bad]/"}, id="no IPv6 address"),
    pytest.param([[[[[[{"url": URL}]]]]]], id="too deep to be meant"),
]


@pytest.mark.parametrize("video", NO_VIDEOS)
@pytest.mark.parametrize("error", [None, {}, [], "", 5, {"message": ""}], ids=repr)
def test_success_without_video_or_reason_is_believed_after_three_more_polls(video: Any, error: Any) -> None:
    """A paid video is not given up because one reply forgot its URL, nor waited for until the deadline."""
    seen = poll({"status": "completed", "video": video, "error": error})
    assert isinstance(seen, Inconclusive)
    assert seen.polls == EMPTY_POLLS == 4
    message = "the upstream said completed, but gave neither a video nor a reason"
    assert seen.outcome == GenerationFailed(message, Charged.UNKNOWN)


@pytest.mark.parametrize("video", NO_VIDEOS)
def test_success_without_a_video_but_with_a_reason_is_a_refusal(video: Any) -> None:
    """Public reports of moderation: completed, no video, an error that says why. The reason reaches the producer."""
    seen = poll({"status": "completed", "video": video, "error": {"name": "Error", "message": "filtered by safety"}})
    assert seen == GenerationFailed("filtered by safety", Charged.UNKNOWN, by_filter=True)


# Failed


@pytest.mark.parametrize("word", [*FAILURE_WORDS, "ERROR", " Failed "])
@pytest.mark.parametrize(
    ("error", "message"),
    [
        pytest.param({"name": "Error", "message": "Unsafe pose"}, "Unsafe pose", id="name and message"),
        pytest.param(
            {"detail": [{"loc": ["body", "image_url"], "msg": "Could not detect face", "type": "face"}]},
            "body.image_url Could not detect face",
            id="detail list",
        ),
        pytest.param({"detail": "Unsafe pose"}, "Unsafe pose", id="detail a string"),
        pytest.param("Unsafe pose", "Unsafe pose", id="string"),
        pytest.param(["Unsafe pose"], "Unsafe pose", id="list of strings"),
        pytest.param([{"message": "Unsafe pose"}], "Unsafe pose", id="list of objects"),
        pytest.param({"name": "Error"}, "Error", id="only a name"),
        pytest.param({"message": "", "name": "Error"}, "Error", id="empty message"),
        pytest.param(None, "the upstream gave no reason", id="null"),
        pytest.param({}, "the upstream gave no reason", id="empty object"),
        pytest.param([], "the upstream gave no reason", id="empty list"),
        pytest.param(5, "the upstream gave no reason", id="number"),
    ],
)
def test_a_failed_generation_ends_at_once_and_says_why(word: str, error: Any, message: str) -> None:
    """The error comes in every shape that its many vendors have; failed generations are not charged."""
    assert poll({"id": "g", "status": word, "error": error}) == GenerationFailed(message, Charged.NO)


def test_a_failure_may_give_its_reason_beside_the_status() -> None:
    """Some vendors put the message at the top."""
    assert poll({"status": "error", "message": "Unsafe pose"}) == GenerationFailed("Unsafe pose")


@pytest.mark.parametrize(
    ("usage", "charged"),
    [({"usd_spent": 0.52}, Charged.YES), ({"credits_used": 1}, Charged.YES), ({"usd_spent": 0}, Charged.NO)],
    ids=repr,
)
@pytest.mark.parametrize("word", ["failed", "completed"])
def test_a_failure_is_charged_as_the_reply_says(word: str, usage: Any, charged: Charged) -> None:
    """A charge that the reply states goes before the upstream's general terms."""
    seen = poll({"status": word, "error": "no", "meta": {"usage": usage}})
    assert isinstance(seen, GenerationFailed)
    assert seen.charged is charged


@pytest.mark.parametrize(
    ("error", "by_filter"),
    [
        pytest.param({"type": "content_policy_violation", "message": "no"}, True, id="by its type"),
        pytest.param({"code": "SAFETY"}, True, id="by its code"),
        pytest.param({"name": "Error", "code": "OutputVideoSensitiveContentDetected"}, True, id="Seedance's code"),
        pytest.param({"detail": [{"msg": "no", "type": "content_filter"}]}, True, id="by a detail"),
        pytest.param({"name": "Error", "message": "Blocked by the safety filter"}, True, id="in words"),
        pytest.param("The prompt violates our content policy", True, id="in a string"),
        pytest.param(["nsfw"], True, id="in a list"),
        pytest.param({"type": "face_detection_error", "message": "the content policy is fine"}, False, id="other code"),
        pytest.param({"message": "Could not detect face"}, False, id="other words"),
        pytest.param({"code": 500}, False, id="a number"),
        pytest.param(None, False, id="nothing"),
    ],
)
@pytest.mark.parametrize("word", ["error", "failed", "rejected"])
def test_a_refusal_by_the_safety_filter_is_its_own_reason(word: str, error: Any, by_filter: bool) -> None:
    """The customer must know to change the prompt, not to try again."""
    seen = poll({"status": word, "error": error})
    assert isinstance(seen, GenerationFailed)
    assert seen.by_filter is by_filter


# An unknown word with a video


@pytest.mark.parametrize("word", ["paused", "published", "ok", "", None, 7], ids=repr)
def test_an_unknown_word_with_a_video_is_finished_after_three_polls_alike(word: Any) -> None:
    """The next model's word for success must not cost its videos."""
    seen = poll({"status": word, "video": [f"{URL}?signature=1"]})
    again = poll({"status": word, "video": {"url": f"{URL}?signature=2"}})
    other = poll({"status": word, "video": OTHER})

    assert isinstance(seen, Inconclusive)
    assert isinstance(again, Inconclusive)
    assert isinstance(other, Inconclusive)
    assert seen.polls == SAME_VIDEO_POLLS == 3
    assert seen.evidence == again.evidence != other.evidence
    assert isinstance(seen.outcome, Finished)
    assert seen.outcome.video.url.startswith(URL)
    assert "taken for done" in (seen.outcome.note or "")


# Other statuses, other encodings


@pytest.mark.parametrize("status", [200, 201, 202, 203, 206, 299])
def test_any_2xx_is_a_readable_reply(status: int) -> None:
    """A gateway's 201 or 206 says the same as a 200."""
    assert poll({"status": "completed", "video": VIDEO}, status) == Finished(
        Video(URL, "video/mp4", "output.mp4", 3716781)
    )


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"status":"error","error":"caf\xe9"}', id="latin-1"),
        pytest.param('{"status":"error","error":"café"}'.encode("utf-8-sig"), id="UTF-8 with a BOM"),
        pytest.param('{"status":"error","error":"café"}'.encode("utf-16"), id="UTF-16"),
    ],
)
def test_a_reply_is_read_in_any_encoding(body: bytes) -> None:
    """One byte of a vendor's message must not hide that the job has ended."""
    assert read_poll(200, {}, body) == GenerationFailed("café")


@pytest.mark.parametrize("body", [b"", b"OK", CLOUDFLARE, b"[]", b'"completed"', b"null", b"\xff", b'{"status":"comp'])
@pytest.mark.parametrize("status", [200, 201, 204, 206])
def test_a_2xx_that_is_no_object_decides_nothing(status: int, body: bytes) -> None:
    """Gateways answer 200 with pages of their own."""
    seen = read_poll(status, {}, body)
    assert isinstance(seen, NoResult)
    assert seen.hold is Hold.UNAVAILABLE


@pytest.mark.parametrize("status", [100, 302, 304, 400, 404, 408, 418, 500, 502, 503, 504, 524])
def test_any_other_status_decides_nothing(status: int) -> None:
    """Not even a 404 ends a paid job: "Inference not found" is undocumented, and its log lags."""
    seen = poll({"status": "error", "error": "x", "video": VIDEO}, status, retry_after="7")
    assert isinstance(seen, NoResult)
    assert (seen.hold, seen.retry_after_s) == (Hold.UNAVAILABLE, 7.0)


@pytest.mark.parametrize("status", [400, 404, 422, 451])
def test_an_http_error_that_blames_the_content_ends_a_job_after_three_polls(status: int) -> None:
    """One odd reply ends no paid job; three alike are an answer."""
    seen = poll({"error": {"type": "content_policy_violation", "message": "no"}}, status)
    assert isinstance(seen, Inconclusive)
    assert seen.polls == REFUSED_POLLS
    assert seen.outcome == GenerationFailed(f"{status} no", by_filter=True)


WORDS: Final = st.sampled_from([*SUCCESS_WORDS, *FAILURE_WORDS, "queued", "odd"])
PLACES: Final = st.recursive(JSON | st.just(URL) | st.just({"url": URL}), lambda inner: st.lists(inner, max_size=3))


@settings(deadline=None)  # the machine may be busy with other tests
@given(status=STATUSES, headers=HEADERS, body=BODIES)
def test_no_reply_breaks_the_reading_of_a_poll(status: int, headers: dict[str, str], body: bytes) -> None:
    """One odd reply must not take a job out of its rounds, let alone end it."""
    seen = read_poll(status, headers, body)

    if not 200 <= status < 300:
        assert isinstance(seen, NoResult | Inconclusive)
    if isinstance(seen, Finished):
        assert seen.video.url.startswith(("http://", "https://"))


@settings(deadline=None)  # as above
@given(word=WORDS, reply=st.dictionaries(st.sampled_from(["video", "videos", "output", "data", "error"]), PLACES))
def test_no_place_for_a_video_breaks_the_reading_of_a_poll(word: str, reply: dict[str, Any]) -> None:
    """A success word ends in a video, a reason, or more polls; nothing else."""
    seen = poll({"status": word, **reply})

    if word in SUCCESS_WORDS:
        assert isinstance(seen, Finished | GenerationFailed | Inconclusive)
    if word in FAILURE_WORDS:
        assert isinstance(seen, GenerationFailed)
