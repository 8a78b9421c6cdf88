"""The address that a request came from: the peer's, or what the proxies that we trust say of it.

A header is only as true as who wrote it, so `X-Forwarded-For` is read from its end, and only as long as its writers
are named in TRAINSHED_TRUSTED_PROXIES.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from trainshed.errors import StartRefused
from trainshed.schemas import settings

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Whoever has one IPv6 address has this many bits of them.
_IPV6_HOME_BITS = 64


def true(peer: str, forwarded: Iterable[str]) -> str:
    """The address behind the peer; `forwarded` are the values of all `X-Forwarded-For` headers, in their order.

    Each proxy has added at the end whom it heard. So the walk goes from the end to the first who is no proxy of ours;
    what is no address ends it.
    """
    networks, found = trusted_proxies(), _parsed(peer)
    if found is None:
        return peer
    heard = [part for line in forwarded for part in line.split(",")]
    while heard and any(found in network for network in networks):
        said = _parsed(heard.pop())
        if said is None:
            break
        found = said
    return str(found)


def is_proxy(peer: str) -> bool:
    """Whether a peer's word is believed that a request reached it over TLS: a proxy of ours, or on this machine."""
    found = _parsed(peer)
    return found is not None and (found.is_loopback or any(found in network for network in trusted_proxies()))


def home(address: str) -> str:
    """What one sender can choose freely counts as one: an IPv6 network is as large as a house, not as an address."""
    found = _parsed(address)
    if isinstance(found, IPv6Address):
        return str(ip_network((found, _IPV6_HOME_BITS), strict=False))
    return address


def trusted_proxies() -> tuple[Network, ...]:
    """The networks of TRAINSHED_TRUSTED_PROXIES. Raises `StartRefused` for what is none."""
    return _networks(settings.text("TRAINSHED_TRUSTED_PROXIES"))


@lru_cache
def _networks(value: str) -> tuple[Network, ...]:
    try:
        return tuple(ip_network(part.strip(), strict=False) for part in value.split(",") if part.strip())
    except ValueError as error:
        raise StartRefused(
            f"TRAINSHED_TRUSTED_PROXIES is {value!r}: {error}.",
            hint="It must be addresses or networks with commas between, such as 127.0.0.1,10.0.0.0/8.",
        ) from None


def _parsed(text: str) -> Address | None:
    """The address, without a port behind it; an IPv4 address in IPv6 clothes as itself. `None` if it is none."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found
