"""The source whose share of the fleet a report counts towards: see `poolhouse.fleet.shares`.

Users who sign are distinguished by their names. Other senders are distinguished by address only as far as the
operator says so: this machine, and each network of ``--allow``. All others are one source, because over UDP a
flooder can write any address.
"""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network

from poolhouse.addresses import as_ip

#: The most addresses whose source is cached.
_MOST_KNOWN = 4096
THIS_MACHINE, ELSEWHERE = "this machine", "elsewhere"


class Sources:
    """The sources of addresses."""

    def __init__(self, networks: Iterable[IPv4Network | IPv6Network] = ()) -> None:
        """Distinguish these networks; if several contain an address, the smallest counts."""
        named = [(network, str(network)) for network in networks]
        named += [(ip_network(network), THIS_MACHINE) for network in ("127.0.0.0/8", "::1/128")]
        self._networks = sorted(named, key=lambda pair: -pair[0].prefixlen)
        self.of = lru_cache(_MOST_KNOWN)(self._of)

    def _of(self, host: str) -> str:
        """The source of an address, without a port.

        >>> from ipaddress import ip_network
        >>> sources = Sources([ip_network("10.0.0.0/8"), ip_network("10.1.0.0/16")])
        >>> [sources.of(host) for host in ("127.0.0.1", "10.1.2.3", "::ffff:10.9.9.9", "192.0.2.1", "?")]
        ['this machine', '10.1.0.0/16', '10.0.0.0/8', 'elsewhere', 'elsewhere']
        """
        address = as_ip(host)
        if address is None:
            return ELSEWHERE
        return next((name for network, name in self._networks if address in network), ELSEWHERE)


@lru_cache(_MOST_KNOWN)
def source_of_user(user: bytes) -> str:
    """The source of a user who signs.

    >>> source_of_user(b"alice")
    'user alice'
    """
    return f"user {user.decode(errors='backslashreplace')}"
