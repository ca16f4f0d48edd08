"""Classifies network addresses: public, link-local, this machine's."""

import ipaddress
from typing import Final
from urllib.parse import urlsplit

_NAMES_OF_THIS_MACHINE: Final = frozenset({"localhost", "localhost.localdomain"})
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")

_NOT_PUBLIC: Final = tuple(
    map(
        ipaddress.IPv4Network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24"),
            *("203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        ),
    )
)
"""IPv4 networks that are not public: the IANA IPv4 Special-Purpose Address Registry, and multicast."""

_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
"""All IPv6 addresses that IANA has given out for the public internet are in this network."""

_NOT_PUBLIC_6: Final = tuple(map(ipaddress.IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
"""Of these, what the IANA IPv6 Special-Purpose Address Registry reserves."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_public(address: str) -> bool:
    """Whether an address from a resolver is on the public internet; False if it is invalid.

    By our own tables: `ipaddress.is_global` differs between versions of Python.
    """
    found = _read(address)
    if isinstance(found, ipaddress.IPv4Address):
        return not any(found in network for network in _NOT_PUBLIC)
    return found is not None and found in _UNICAST and not any(found in network for network in _NOT_PUBLIC_6)


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
