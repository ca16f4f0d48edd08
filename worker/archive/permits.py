"""Decides which addresses a download may connect to, as a video's URL is not trusted."""

import socket

from config.addresses import is_link_local, is_public
from config.outbound import Permits


def download_permits(*, private: bool | None, upstream: str) -> Permits:
    """Permit public addresses; private ones if `private` is true or, where it is None, if the upstream is at one.

    In that last case link-local addresses stay refused: clouds keep machine credentials there.
    """

    def permits(address: str) -> bool:
        if is_public(address):
            return True
        if private is not None:
            return private
        return not is_link_local(address) and _is_private(upstream)

    return permits


def _is_private(host: str) -> bool:
    try:
        found = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return any(not is_public(str(address[0])) for *_, address in found)
