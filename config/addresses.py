"""Which network addresses are public, and which are this machine's own."""

import ipaddress
from typing import Final
from urllib.parse import urlsplit

_NAMES_OF_THIS_MACHINE: Final = frozenset({"localhost", "localhost.localdomain"})
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_public(address: str) -> bool:
    """Whether an address, as a resolver spells it, belongs to the public internet; what cannot be read does not."""
    found = _read(address)
    return found is not None and found.is_global and not found.is_multicast


def is_link_local(address: str) -> bool:
    """Whether an address reaches this link only; clouds keep their machines' credentials at such a one."""
    found = _read(address)
    return found is not None and found.is_link_local


def is_loopback(host: str) -> bool:
    """Whether an address or a name is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() in _NAMES_OF_THIS_MACHINE


def leads_here(url: str) -> bool:
    """Whether a URL's host is this machine's own; what cannot be read is not."""
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
    """The IPv4 address that an IPv6 one stands for, if it does: the tunnel's end is where the bytes go."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None) or address
