"""Data from a server that this console asks: every address of its name, until one answers and is kept."""

import os
import socket
from contextlib import suppress
from math import inf
from typing import NamedTuple

from poolhouse.addresses import format_address
from poolhouse.clean import clean
from poolhouse.feed.link import Link, Phase
from poolhouse.feed.protocol.datagrams import NONCE_BYTES, DenialReason
from poolhouse.feed.protocol.frame import Server
from poolhouse.feed.protocol.subscription import PERIOD, Subscription
from poolhouse.feed.sealed import FeedSeal
from poolhouse.feed.sockets import LARGEST_DATAGRAM, READ_AT_ONCE, connected, lookup
from poolhouse.fleet.snapshot import Snapshot
from poolhouse.report.protection import Protection

#: After silence of this many times a server's patience, its name is looked up again.
LOST_PATIENCE = 3
DENIALS = {
    DenialReason.ADDRESS: "this machine's address must be allowed there (--allow, or allow in collectd.conf)",
    DenialReason.FULL: "it serves as many consoles as it may",
    DenialReason.UNSIGNED: "it answers only what is signed or encrypted: name a --user and a --password-file",
    DenialReason.UNENCRYPTED: "it answers only what is encrypted: name a --user and a --password-file",
    DenialReason.CREDENTIALS: "its AuthFile does not have this user with this password",
    DenialReason.NO_KEYS: "it has no AuthFile, or cannot decrypt: leave the --user out, or try --security sign",
    DenialReason.FORGEABLE: "it demands a signature inside what is encrypted",
}


class _Conversation(NamedTuple):
    """A conversation and its socket."""

    sock: socket.socket
    subscription: Subscription
    seal: FeedSeal | None = None

    def send(self, datagram: bytes) -> None:
        """Send, sealed if required; OSError as from a socket."""
        self.sock.send(datagram if self.seal is None else self.seal.seal(datagram))

    def receive(self, datagram: bytes, now: float) -> Snapshot | None:
        """Handle a datagram; return the snapshot that it completes, or ``None``."""
        if self.seal is None:
            return self.subscription.receive(datagram, now)
        content = self.seal.open(datagram)
        if content is not None:
            return self.subscription.receive(content, now)
        if (reason := self.seal.refusal(datagram)) is not None:
            self.subscription.deny(reason, now)
        return None

    def is_heard(self) -> bool:
        """Whether the server answers, and serves us."""
        one = self.subscription
        return one.heard is not None and one.refusal is None and one.denied is None


class Caller:
    """Asks a server for its snapshots, for as long as necessary. Times are monotonic seconds."""

    def __init__(self, host: str, port: int, protection: Protection | None = None) -> None:
        """Prepare.

        Args:
            host: The server's name or address.
            port: Its UDP port.
            protection: How to sign or encrypt, and the seal that answers must have; ``None`` for neither.
        """
        self._host = host
        self._port = port
        self._protection = protection
        self._program: str | None = None
        self._conversations: list[_Conversation] = []
        self._opened_at = 0.0
        self._next_open = -inf
        self._tries = 0
        #: The phase while there is no conversation.
        self._phase_unconnected: Phase = "connecting"
        self._error: str | None = None
        #: The last facts about the server, kept when it is lost.
        self._heard_at: float | None = None
        self._server: Server | None = None
        self._patience = 0.0

    @property
    def sockets(self) -> list[socket.socket]:
        """The sockets to wait for; they change with each `step` and `receive`."""
        return [one.sock for one in self._conversations]

    @property
    def next_due(self) -> float:
        """When `step` is due next."""
        return min([self._next_open, *(one.subscription.next_due for one in self._conversations)])

    def ask(self, program: str | None, now: float) -> None:
        """Request the processes of this program too."""
        self._program = program
        for one in self._conversations:
            one.subscription.ask(program, now)

    def retry(self, now: float) -> None:
        """Look up the name and ask now, unless the server answers anyway."""
        if not any(one.is_heard() for one in self._conversations):
            self._next_open = now

    def step(self, now: float) -> None:
        """Send the datagrams that are due."""
        if now >= self._next_open:
            self._open(now)
        for one in self._conversations:
            for datagram in one.subscription.due(now):
                try:
                    one.send(datagram)
                except BlockingIOError:
                    pass  # Sent again in five seconds.
                except OSError as error:
                    one.subscription.refuse(_words(error))
        self._plan(now)

    def receive(self, sock: socket.socket, now: float) -> Snapshot | None:
        """Read waiting datagrams; return the newest snapshot that they complete."""
        one = next(one for one in self._conversations if one.sock is sock)
        newest: Snapshot | None = None
        try:
            for _ in range(READ_AT_ONCE):
                newest = one.receive(sock.recv(LARGEST_DATAGRAM), now) or newest
        except BlockingIOError:
            pass
        except OSError as error:
            one.subscription.refuse(_words(error))
        if one.is_heard():
            self._keep(one)
        return newest

    def summed(self, now: float, wall_time: float) -> Snapshot | None:
        """The snapshot from value lists, if the server sends those."""
        told = (one.subscription.summed(now, wall_time) for one in self._conversations)
        return next((snapshot for snapshot in told if snapshot is not None), None)

    def link(self) -> Link:
        """The present link to the server."""
        phase, error = self._judge()
        server = self._server
        return Link(
            phase=phase,
            address=format_address(self._host, self._port),
            server=server and clean(server.name),
            reports=clean(server.reports[0]) if server and server.reports else None,
            tries=self._tries + max((one.subscription.tries for one in self._conversations), default=0),
            next_try=None if phase == "connected" else self.next_due,
            error=error,
            heard_at=self._heard_at,
            patience=self._patience,
            denial=None if phase == "connected" else self._denial(),
        )

    def close(self) -> None:
        """Say goodbye."""
        while self._conversations:
            one = self._conversations.pop()
            _hang_up(one)

    def _open(self, now: float) -> None:
        """Start a conversation with every present address of the name."""
        self._tries += max((one.subscription.tries for one in self._conversations), default=0)
        self.close()
        self._opened_at, self._next_open = now, now + PERIOD
        try:
            endpoints = lookup(self._host, self._port)
        except OSError as error:
            self._tries += 1
            self._phase_unconnected, self._error = "unresolved", _words(error)
            return
        for endpoint in endpoints:
            try:
                sock = connected(endpoint)
            except OSError as error:
                self._phase_unconnected, self._error = "refused", _words(error)
            else:
                seal = None if self._protection is None else FeedSeal(self._protection)
                nonce = os.urandom(NONCE_BYTES)
                subscription = Subscription(nonce, now, self._program, is_sealed=seal is not None)
                self._conversations.append(_Conversation(sock, subscription, seal))

    def _plan(self, now: float) -> None:
        """Plan when to look up the name next."""
        if not self._conversations:
            return  # `_open` has planned it.
        heard = max(self._opened_at, *(one.subscription.heard or 0.0 for one in self._conversations))
        patience = max(one.subscription.patience for one in self._conversations)
        if all(one.subscription.refusal is not None for one in self._conversations):
            self._next_open = min(self._next_open, now + PERIOD)
        elif now - heard > LOST_PATIENCE * patience:
            self._next_open = now
        else:
            self._next_open = inf

    def _keep(self, one: _Conversation) -> None:
        """Keep the address that answers, and stop asking the others."""
        for other in self._conversations:
            if other is not one:
                _hang_up(other)
        self._conversations = [one]
        self._tries = 0
        self._heard_at = one.subscription.heard
        self._server = one.subscription.server
        self._patience = one.subscription.patience

    def _denial(self) -> DenialReason | None:
        denials = (one.subscription.denied for one in self._conversations)
        return next((denial for denial in denials if denial is not None), None)

    def _judge(self) -> tuple[Phase, str | None]:
        """The phase and the error of the link."""
        if not self._conversations:
            return self._phase_unconnected, self._error
        if any(one.is_heard() for one in self._conversations):
            return "connected", None
        if (denial := self._denial()) is not None:
            return "refused", DENIALS[denial]
        refusals = [one.subscription.refusal for one in self._conversations]
        if all(refusals):
            return "refused", refusals[0]
        return "connecting", None


def _hang_up(one: _Conversation) -> None:
    if (bye := one.subscription.bye()) is not None:
        with suppress(OSError):
            one.send(bye)
    one.sock.close()


def _words(error: OSError) -> str:
    """The system's text for an error, without its number."""
    return error.strerror or str(error)
