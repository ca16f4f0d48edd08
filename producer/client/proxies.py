"""Chooses the proxy of a request from the environment, for the workers and for this library alike.

`ALL_PROXY`, `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`; lower case wins. This machine (localhost, 127.0.0.0/8, ::1) is
always reached directly.
"""

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import urlsplit

PORTS: Final[Mapping[str, int]] = {
    "http": 80,
    "https": 443,
    "socks4": 1080,
    "socks4a": 1080,
    "socks5": 1080,
    "socks5h": 1080,
}
"""The schemes of proxies with their default ports; libraries disagree about the port, so we always give it."""

_ALIASES: Final = {"socks": "socks5h"}  # what desktops write

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class _Exempt:
    """One entry of NO_PROXY: a network, or a domain with its subdomains, on one port or on all."""

    network: Network | None
    domain: str
    port: int | None

    def covers(self, host: str, address: Address | None, port: int | None) -> bool:
        """Whether the entry matches this host."""
        if self.port not in {None, port}:
            return False
        if address is not None:
            return self.network is not None and address in self.network
        return host == self.domain or host.endswith(f".{self.domain}")


@dataclass(frozen=True, slots=True)
class Proxies:
    """The environment's proxies, read once."""

    by_scheme: Mapping[str, str]
    exempt: tuple[_Exempt, ...] = ()

    @classmethod
    def of_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read the variables.

        Raises:
            ValueError: one of them is not a proxy's URL; the message names it without its value, which may hold a
                password.
        """
        exempt = re.split(r"[,\s]+", _variable(environ, "no").lower())
        if "*" in exempt:
            return cls({})
        given = {scheme: _variable(environ, scheme) for scheme in ("all", "http", "https")}
        proxies = {scheme: _proxy(scheme, value) for scheme, value in given.items() if value}
        return cls(proxies, tuple(_exempt(entry) for entry in exempt if entry))

    def for_url(self, url: str) -> str | None:
        """Choose the proxy for `url`, with its port; None: none.

        Raises:
            ValueError: the URL can't be read.
        """
        if not self.by_scheme:
            return None
        place = urlsplit(url)
        proxy = self.by_scheme.get(place.scheme) or self.by_scheme.get("all")
        host = (place.hostname or "").rstrip(".")
        address = _address(host)
        if proxy is None or _is_this_machine(host, address):
            return None
        port = place.port or PORTS.get(place.scheme)
        return None if any(entry.covers(host, address, port) for entry in self.exempt) else proxy


def _variable(environ: Mapping[str, str], scheme: str) -> str:
    """Read a variable; under CGI a visitor's `Proxy` header is in HTTP_PROXY (CVE-2016-5385), so it is ignored."""
    if scheme == "http" and "REQUEST_METHOD" in environ:
        return environ.get("http_proxy", "").strip()
    return environ.get(f"{scheme}_proxy", environ.get(f"{scheme.upper()}_PROXY", "")).strip()


def _proxy(scheme: str, value: str) -> str:
    """Complete a proxy's URL with scheme and port, so that every library reads it alike."""
    known = ", ".join(f"{kind}://" for kind in PORTS)
    unusable = ValueError(
        f"{scheme.upper()}_PROXY is no proxy's address: set [user:password@]host:port after one of {known}"
    )
    try:
        place = urlsplit(value if "://" in value else f"http://{value}")
        host, port = place.hostname or "", place.port
    except ValueError:
        raise unusable from None
    kind, user = _ALIASES.get(place.scheme, place.scheme), place.netloc.rpartition("@")[0]
    if kind not in PORTS or not re.fullmatch(r"[\w.:-]+", host, re.ASCII):
        raise unusable
    return f"{kind}://{f'{user}@' if user else ''}{f'[{host}]' if ':' in host else host}:{port or PORTS[kind]}"


def _exempt(entry: str) -> _Exempt:
    """Parse `example.com`, `.example.com`, `*.example.com`, `10.0.0.0/8`, `::1`; with `:port` IPv6 needs brackets."""
    name, port = entry, None
    if found := re.fullmatch(r"(\[.+\]|[^:]+):(\d{1,5})", entry):
        name, port = found[1], int(found[2])
    try:
        network = ipaddress.ip_network(name.replace("[", "").replace("]", ""), strict=False)
    except ValueError:
        network = None
    return _Exempt(network, name.removeprefix("*").strip("."), port)


def _address(host: str) -> Address | None:
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, ipaddress.IPv6Address) else found


def _is_this_machine(host: str, address: Address | None) -> bool:
    if address is not None:
        return address.is_loopback
    return host == "localhost" or host.endswith(".localhost")
