"""Makes the transport to the API, through the environment's proxy if there is one for its address."""

from collections.abc import Callable
from typing import TypeVar

from producer.client.errors import RushesError
from producer.client.proxies import Proxies

Transport = TypeVar("Transport")


def transport_to(base_url: str, make: Callable[..., Transport]) -> Transport:
    """Make a transport of httpx2 to `base_url`.

    Raises:
        RushesError: the environment's proxy cannot be used; the message says what to change.
    """
    try:
        proxy = Proxies.of_environment().for_url(base_url)
    except ValueError as error:
        raise RushesError(str(error)) from None
    if proxy and proxy.startswith("socks4"):
        raise RushesError("a SOCKS4 proxy can't be used here: set a socks5:// or http:// one, or NO_PROXY")
    try:
        return make(proxy=proxy)
    except ImportError:
        raise RushesError("a SOCKS proxy needs `pip install 'httpx2[socks]'`; or set NO_PROXY for this host") from None
