"""Which addresses strangers may send us to: those on the public internet, wherever the bytes really go."""

import ipaddress
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.addresses import is_public

RESERVED: Final = [
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"),
    *("192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4"),
    "240.0.0.0/4",
    *("::/96", "::ffff:0:0:0/96", "64:ff9b:1::/48", "100::/64", "2001:2::/48", "2001:20::/28", "2001:db8::/32"),
    *("3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),
]
"""The IANA special-purpose registries (RFC 6890, as updated), multicast, and what was once site-local."""


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("[2606:4700::1111]", True),
        ("127.0.0.1", False),
        ("172.20.0.3", False),
        ("169.254.169.254", False),
        ("192.0.0.192", False),  # a cloud's metadata, in a network of which Python calls a part global
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("::10.0.0.1", False),  # IPv4-compatible
        ("::ffff:0:10.0.0.1", False),  # IPv4-translated
        ("64:ff9b:1::a00:1", False),  # a network's own NAT64
        ("fe80::1%eth0", False),
        ("fec0::1", False),
        ("fd00:ec2::254", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("2002:7f00:1::", False),  # 6to4 around 127.0.0.1
        ("64:ff9b::a00:1", False),  # NAT64 around 10.0.0.1
        ("64:ff9b::808:808", True),
        ("nonsense", False),
        ("0x7f.1", False),
        ("", False),
    ],
)
def test_an_address_is_public_or_not_by_where_the_bytes_go(address: str, *, public: bool) -> None:
    """An IPv6 address may be an IPv4 one in disguise."""
    assert is_public(address) is public


@st.composite
def reserved(draw: st.DrawFn) -> str:
    """An address of a reserved network, in some spelling."""
    network = ipaddress.ip_network(draw(st.sampled_from(RESERVED)))
    address = draw(st.ip_addresses(network=network))
    spellings = [str(address), address.exploded, address.exploded.upper()]
    if isinstance(address, ipaddress.IPv4Address):
        spellings += [
            f"::ffff:{address}",
            f"64:ff9b::{address}",
            f"2002:{int(address) >> 16:x}:{int(address) & 0xFFFF:x}::1",
        ]
    return draw(st.sampled_from(spellings))


@given(reserved())
def test_no_reserved_address_is_public_in_any_spelling(address: str) -> None:
    """Alike on every Python, as the tables are ours."""
    assert not is_public(address)
