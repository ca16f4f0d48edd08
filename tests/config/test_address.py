"""Where Redis is: a server, or the master that Sentinels name; told alike to the ledger and to Celery."""

import ssl

import pytest

from config.address import Sentinels, sentinels_of
from config.celery_app import make_app
from config.settings import Settings

URL = "sentinel://me:p%40ss%3Bword@one,two:5000,[::1]:6000/3?master=videos"


def test_sentinels_are_read_from_one_url() -> None:
    """The port is Sentinel's own unless given; the password is Redis's, percent-encoded."""
    hosts = (("one", 26379), ("two", 5000), ("::1", 6000))

    assert sentinels_of(URL) == Sentinels(hosts, "videos", 3, "me", "p@ss;word")
    assert sentinels_of("sentinel://one?master=m") == Sentinels((("one", 26379),), "m", 0, None, None)
    assert "p@ss" not in repr(sentinels_of(URL))


def test_a_servers_url_names_no_sentinels() -> None:
    """It stays as it is."""
    assert sentinels_of("redis://:x@localhost:6379/0") is None
    assert sentinels_of("rediss://localhost") is None


@pytest.mark.parametrize(
    "url",
    [
        "sentinel://one:26379/0",
        "sentinel://one/0?master=a&master=b",
        "sentinel:///0?master=m",
        "sentinel://one,,two/0?master=m",
        "sentinel://one:port/0?master=m",
        "sentinel://one/zero?master=m",
        "http://one",
        "redis://one:port",
        "one",
    ],
)
def test_what_is_no_address_is_refused_without_being_repeated(url: str) -> None:
    """It may hold a password."""
    with pytest.raises(ValueError) as refused:  # noqa: PT011 (the settings say the rest)
        sentinels_of(url.replace("one", ":secret@one"))
    assert "secret" not in str(refused.value)


def test_celery_hears_of_every_sentinel_with_all_that_leads_through_it() -> None:
    """Kombu turns from one URL to the next, and forgets what only the first one said."""
    redis = {"url": URL, "sentinel_password": "theirs"}
    app = make_app(Settings.model_validate({"redis": redis}))
    options = app.conf.broker_transport_options

    assert app.conf.broker_url == ";".join(
        f"sentinel://me:p%40ss%3Bword@{host}/3" for host in ("one:26379", "two:5000", "[::1]:6000")
    )
    assert options["master_name"] == "videos"
    assert options["sentinel_kwargs"]["password"] == "theirs"
    assert options["ack_emulation"] is False
    assert "p@ss" not in app.connection().as_uri()


def test_over_tls_the_brokers_certificate_is_checked() -> None:
    """Left alone, kombu takes any; what the URL says outranks us."""
    app = make_app(Settings.model_validate({"redis": {"url": "rediss://one"}}))
    lenient = make_app(Settings.model_validate({"redis": {"url": "rediss://one?ssl_cert_reqs=none"}}))

    assert app.connection().ssl == {"ssl_cert_reqs": ssl.CERT_REQUIRED}
    assert lenient.connection().ssl == {"ssl_cert_reqs": ssl.CERT_NONE}
