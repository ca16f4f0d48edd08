"""Classifies network addresses: public, link-local, this machine's."""

import ipaddress
from typing import Final
from urllib.parse import urlsplit

_NAMES_OF_THIS_MACHINE: Final = frozenset({"localhost", "localhost.localdomain"})
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_public(address: str) -> bool:
    """Whether an address from a resolver is on the public internet; False if it is invalid."""
    found = _read(address)
    return found is not None and found.is_global and not found.is_multicast


def is_link_local(address: str) -> bool:
    """Whether an address is link-local; clouds serve machine credentials at one."""
    found = _read(address)
    return found is not None and found.is_link_local


def is_loopback(host: str) -> bool:
    """Whether an address or a name is this machine's."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() in _NAMES_OF_THIS_MACHINE


def leads_here(url: str) -> bool:
    """Whether a URL's host is this machine; False if the URL is invalid."""
    try:
        return is_loopback(urlsplit(url).hostname or "")
    except ValueError:
        return False


def _read(address: str) -> Address | None:
    try:
        return _innermost(ipaddress.ip_address(address.strip("[]")))
    except ValueError:
        return None


def _innermost(address: Address) -> Address:
    """Return the IPv4 address inside an IPv6 tunnel address, because the bytes go there; else the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None) or address
