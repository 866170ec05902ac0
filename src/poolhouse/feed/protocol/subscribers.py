"""The server's side: the consoles that are served.

A console of sqlalchemy-collectd sends ``HELO`` every five seconds, and gets value lists meanwhile. ``HELO`` proves
nothing: with a forged source address, it makes the server send to a victim. It is therefore answered only for
loopback and the networks that the operator names, for a few seconds each, and for few ports of an address.

Our own `Ask` is first answered with a cookie, shorter than the `Ask` itself, and served only when it comes back
with that cookie, which a forger never sees. The cookie is a keyed digest of the address and the minute, as in DTLS
and QUIC, so that the server need not remember requests.

A console over TCP is proven by its connection, and `poolhouse.feed.protocol.connections` has let it in: it needs
neither network nor cookie here, and takes no other console's place.

If there are too many consoles, the source that has the most loses its newest to a source that has fewer. The
source is the address, which a cookie proves; of ``HELO``, this machine, or the network that contains the address.

The shell must call `handle` for every datagram, in one thread, and send what it returns back to the same address,
from the address that the datagram was sent to (`via` helps to remember which).
"""

import hashlib
import hmac
from collections import Counter
from collections.abc import Hashable, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from poolhouse.addresses import as_ip
from poolhouse.crowd import Crowd
from poolhouse.errors import PacketError, SettingError
from poolhouse.feed.protocol.datagrams import (
    COOKIE_BYTES,
    HELO,
    Ask,
    Bye,
    Cookie,
    DenialReason,
    Denied,
    Missing,
    decode_datagram,
    encode_datagram,
)

Network = IPv4Network | IPv6Network
#: The form returned by `socket.recvfrom`: host, port, and for IPv6 flow and scope.
Address = tuple[str, int] | tuple[str, int, int, int]

LOOPBACK: tuple[Network, ...] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
#: Seconds for which a console is served after it last asked.
LIFETIME = 30.0
#: Seconds that each ``HELO`` adds, up to `LIFETIME`: the console repeats it every five, and one may be lost.
HELO_SECONDS = 12.0
#: How many ports of one address are served for ``HELO``, except on this machine, whose address nobody can forge.
MOST_HELO_PORTS = 4
#: The least number of seconds for which a cookie is valid; at most twice as long.
COOKIE_PERIOD = 60.0


def parse_network(text: str, setting: str = "allow") -> Network:
    """The network that a setting names: ``10.0.0.0/8``, ``fd00::/8``, or a single address.

    Raises:
        SettingError: If it is not a network. ``setting`` is the setting's name for the user.
    """
    try:
        return ip_network(text.strip(), strict=False)
    except ValueError:
        raise SettingError(
            setting, f"{text!r} is not a network; write 10.0.0.0/8, fd00::/8 or an address"
        ) from None


class Subscriber:
    """One console that is being served."""

    __slots__ = ("address", "expires", "is_proven", "nonce", "program", "via")

    def __init__(
        self,
        address: Address,
        via: Hashable,
        expires: float,
        nonce: bytes | None = None,
        program: str | None = None,
        is_proven: bool = False,
    ) -> None:
        self.address = address
        #: The object that the shell passed to `Subscribers.handle`.
        self.via = via
        #: Monotonic seconds.
        self.expires = expires
        #: ``None`` for a console of sqlalchemy-collectd, which is sent value lists.
        self.nonce = nonce
        #: A program whose processes are also requested.
        self.program = program
        #: Whether a connection proves its address.
        self.is_proven = is_proven


class Subscribers:
    """Every console that is being served, bounded; not thread-safe.

    Attributes:
        refused: How many datagrams were not served, by reason: ``malformed``, ``address`` (from elsewhere),
            ``full`` (beyond the limit), or ``cookie`` (it proves nothing).
        missing: What the last handled datagram reports as missing; the server removes it.
    """

    def __init__(self, secret: bytes, networks: Iterable[Network] = (), limit: int = 64) -> None:
        """Start without consoles.

        Args:
            secret: At least 16 random bytes, for cookies; new at each start.
            networks: The networks of consoles, besides `LOOPBACK`.
            limit: How many consoles of each kind are served over UDP at a time: forged ``HELO`` from an allowed
                network cannot take the place of those that have proved their address.
        """
        self.refused: Counter[str] = Counter()
        self.missing: list[Missing] = []
        self._secret = secret
        self._networks = (*LOOPBACK, *networks)
        self._limit = limit
        self._subscribers: dict[tuple[Hashable, Address], Subscriber] = {}
        self._newcomers: set[tuple[Hashable, Address]] = set()

    def handle(
        self, datagram: bytes, address: Address, now: float, via: Hashable = None, *, is_proven: bool = False
    ) -> bytes | None:
        """Handle one datagram from a console.

        Args:
            datagram: The datagram.
            address: The sender's address.
            now: Monotonic seconds.
            via: An object by which the shell answers from the address that was asked; returned in `Subscriber`.
            is_proven: Whether a connection proves the address.

        Returns:
            The immediate reply, never longer than the datagram; ``None`` for none.
        """
        if datagram == HELO and not is_proven:
            self._helo(address, now, via)
            return None
        try:
            message = decode_datagram(datagram)
        except PacketError:
            self.refused["malformed"] += 1
            return None
        match message:
            case Ask():
                if is_proven:
                    self._serve(Subscriber(address, via, now + LIFETIME, message.nonce, message.program, True))
                    return None
                answer = self._ask(message, address, now, via)
                return None if answer is None else encode_datagram(answer)
            case Missing(nonce, cookie) if not is_proven and self._is_valid(cookie, address, now):
                known = self._subscribers.get((via, address))
                if known is not None and known.nonce == nonce:
                    self.missing.append(message)
            case Bye(_, cookie) if is_proven or self._is_valid(cookie, address, now):
                self.leave(address, via)
            case Missing() | Bye():
                self.refused["cookie"] += 1
            case _:  # What only a server says.
                self.refused["malformed"] += 1
        return None

    def leave(self, address: Address, via: Hashable) -> None:
        """Stop serving this console."""
        self._forget((via, address))

    def consoles(self, now: float) -> list[Subscriber]:
        """The consoles to serve now, of both kinds; one that has not asked for 30 seconds is forgotten."""
        for key, subscriber in list(self._subscribers.items()):
            if subscriber.expires <= now:
                self._forget(key)
        return list(self._subscribers.values())

    def newcomers(self, now: float) -> list[Subscriber]:
        """The members of `consoles` that are new, or changed their program, since the last call."""
        living = self.consoles(now)
        newcomers = [one for one in living if (one.via, one.address) in self._newcomers]
        self._newcomers.clear()
        return newcomers

    def _helo(self, address: Address, now: float, via: Hashable) -> None:
        known = self._subscribers.get((via, address))
        if known is not None and known.nonce is not None and known.expires > now:
            return  # It sends both requests until it hears our answer, which is the better one.
        before = now if known is None or known.nonce is not None else max(now, known.expires)
        subscriber = Subscriber(address, via, min(before + HELO_SECONDS, now + LIFETIME))
        if not self._is_allowed(address):
            self.refused["address"] += 1
        elif not self._has_room(subscriber, now):
            self.refused["full"] += 1
        else:
            self._serve(subscriber)

    def _ask(self, ask: Ask, address: Address, now: float, via: Hashable) -> Cookie | Denied | None:
        if not self._is_allowed(address):
            self.refused["address"] += 1
            return Denied(ask.nonce, DenialReason.ADDRESS)
        if not self._is_valid(ask.cookie, address, now):
            return Cookie(ask.nonce, self._cookie(address, int(now // COOKIE_PERIOD)))
        subscriber = Subscriber(address, via, now + LIFETIME, ask.nonce, ask.program)
        if not self._has_room(subscriber, now):
            self.refused["full"] += 1
            return Denied(ask.nonce, DenialReason.FULL)
        self._serve(subscriber)
        return None

    def _serve(self, subscriber: Subscriber) -> None:
        key = (subscriber.via, subscriber.address)
        known = self._subscribers.get(key)
        if known is None or (known.nonce, known.program) != (subscriber.nonce, subscriber.program):
            self._newcomers.add(key)
        self._subscribers[key] = subscriber

    def _forget(self, key: tuple[Hashable, Address]) -> None:
        self._subscribers.pop(key, None)
        self._newcomers.discard(key)

    def _has_room(self, subscriber: Subscriber, now: float) -> bool:
        """Whether there is room for a console, perhaps the place of one of the source that has the most."""
        is_legacy = subscriber.nonce is None
        others = [one for one in self.consoles(now) if (one.nonce is None) is is_legacy and not one.is_proven]
        if any(one.address == subscriber.address for one in others):
            return True
        host = as_ip(subscriber.address[0])
        if is_legacy and not _is_in(LOOPBACK, host):
            ports = sum(as_ip(one.address[0]) == host for one in others)
            if ports >= MOST_HELO_PORTS:
                return False
        if len(others) < self._limit:
            return True
        crowd: Crowd[tuple[Hashable, Address]] = Crowd(self._limit)
        for one in others:
            crowd.add((one.via, one.address), self._source(one))
        newest = next(crowd.of_largest_but(self._source(subscriber)), None)
        if newest is None:
            return False
        self._forget(newest)
        return True

    def _source(self, subscriber: Subscriber) -> Hashable:
        host = as_ip(subscriber.address[0])
        if subscriber.nonce is not None or host is None:
            return host
        if _is_in(LOOPBACK, host):
            return LOOPBACK
        return max((one for one in self._networks if host in one), key=lambda network: network.prefixlen)

    def _is_allowed(self, address: Address) -> bool:
        return _is_in(self._networks, as_ip(address[0]))

    def _is_valid(self, cookie: bytes, address: Address, now: float) -> bool:
        period = int(now // COOKIE_PERIOD)
        return any(hmac.compare_digest(cookie, self._cookie(address, one)) for one in (period, period - 1))

    def _cookie(self, address: Address, period: int) -> bytes:
        said = f"{as_ip(address[0])} {address[1]} {period}".encode()
        return hmac.new(self._secret, said, hashlib.sha256).digest()[:COOKIE_BYTES]


def _is_in(networks: Iterable[Network], host: IPv4Address | IPv6Address | None) -> bool:
    return host is not None and any(host in network for network in networks)
