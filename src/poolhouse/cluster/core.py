"""One node's side of a cluster: what it sends to the other nodes of its service, and how it handles theirs.

No socket, no clock: a shell says when a link is up or lost, passes frames in (`Cluster.receive`) and asks for
bytes to send (`Cluster.ready`, `Cluster.step`). The rules, with their reasons, are in ``docs/reference/fleet.md``:

- A report that a client sent to this node is passed on to each linked node. What was passed on is not passed on
  again.
- When a link comes up, each side asks the other for all that it has counted. The answer travels in small pieces
  between reports, and is joined.
- A node passes on what it learns by joining. If it knows better than the sender, it sends its own knowledge back.
- A node is *behind* if its service began to count before the node did. Such a node first takes the sums of
  forgotten processes from one other node, and asks the rest afterwards.
- Nothing waits for a slow node: only the newest report of each process is kept for it, and the skipped ones are
  sent later, as an entry of the ledger.
"""

from collections import deque
from collections.abc import Iterable

from poolhouse.cluster.queue import Arrived, ReportQueue
from poolhouse.errors import PacketError
from poolhouse.fleet.exchange import Exchange
from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.intake import Way
from poolhouse.fleet.process import Process
from poolhouse.fleet.snapshot import NodeState
from poolhouse.wire.framing import Frame, Kind, frame
from poolhouse.wire.ledger import (
    CHUNK_BYTES,
    CHUNK_ENTRIES,
    Pulse,
    RowSums,
    chunk,
    decode_ledger,
    decode_pulse,
    decode_rows,
    decode_told,
    encode_entry,
    encode_pulse,
    encode_row_sums,
    encode_told,
)

#: What nodes send each other; reading a member of an enumeration takes a fifth of a microsecond.
_REPORT, _PULSE, _ASK, _LEDGER, _ROWS, _TOLD = (
    Kind.REPORT, Kind.PULSE, Kind.ASK, Kind.LEDGER, Kind.ROWS, Kind.TOLD,
)  # fmt: skip
_RELAYED = Way.RELAYED

#: Seconds between two signs of life, and seconds without any after which a link is given up.
PULSE_S, SILENCE_S = 1.0, 3.0
#: Seconds between two ticks from which on this node itself counts as having stood still.
STANDSTILL_S = 2.0
#: Bytes of reports in one step to a node that lags behind, and about the most in one step to any other.
STEP_BYTES, BATCH_BYTES = 64 * 1024, 512 * 1024


class _Peer:
    """Another node."""

    def __init__(self, name: str, now: float) -> None:
        self.name = name
        #: What its reports count against (`poolhouse.fleet.shares`).
        self.source = f"node {name}"
        #: Processes about which it must be told; those that it asked for come first.
        self.changed: dict[Process, None] = {}
        #: The reports it lags behind with; empty while it reads as fast as reports arrive.
        self.queue = ReportQueue(self._note_dropped)
        #: What has arrived for all nodes, and its bytes, until the next step.
        self.batch: list[Arrived] = []
        self.batch_bytes = b""
        self.missing_since: float | None = now
        self.lose(now)

    def lose(self, now: float) -> None:
        """Reset the state: the link is lost, or there was none yet."""
        if self.missing_since is None:
            self.missing_since = now
        self.heard_at = now
        self.pulse_due = now
        #: Its last sign of life; ``None`` before the first one of this link.
        self.pulse: Pulse | None = None
        #: Whether it has been asked for its ledger.
        self.was_asked = False
        #: Whether its question has not been answered completely, and what remains to be sent.
        self.is_asking = False
        self.asked: deque[Process] = deque()
        self.forgotten: deque[RowSums] = deque()
        self.forgotten_for: float | None = None
        self.answers: list[bytes] = []
        self.changed.clear()
        self.queue.clear()
        self.batch, self.batch_bytes = [], b""

    def bring(self, arrived: list[Arrived], framed: bytes) -> None:
        """Queue what has arrived for it: for the next step, or behind everything that it lags behind with."""
        if not (self.queue or self.batch):
            self.batch, self.batch_bytes = arrived, framed
            return
        for several in (self.batch, arrived):
            for process, number, datagram in several:
                self.queue.put(process, number, datagram)
        self.batch, self.batch_bytes = [], b""

    @property
    def is_linked(self) -> bool:
        return self.missing_since is None

    def _note_dropped(self, process: Process) -> None:
        self.changed[process] = None


class Cluster:
    """The other nodes of a service.

    Attributes:
        name: This node's name.
        is_behind: Whether this node lacks what was forgotten before it began.
        refused: How many frames could not be used.
    """

    def __init__(self, fleet: Fleet, name: str, names: Iterable[str], now: float) -> None:
        """Start without links.

        Args:
            fleet: This node's fleet; it is connected to the cluster.
            name: This node's name.
            names: The names of all nodes of the service, in the order in which they are shown.
            now: The aggregator's time.
        """
        self.name = name
        self.is_behind = False
        self.refused = 0
        self._fleet = fleet
        self._exchange = Exchange(fleet)
        self._names = tuple(names)
        self._peers = {one: _Peer(one, now) for one in self._names if one != name}
        self._linked: list[_Peer] = []
        #: The node that brings this one up to date, before any other is asked.
        self._source: _Peer | None = None
        #: What has arrived since the last step, for all nodes, and its bytes: usually all get the same. Each
        #: report is kept even if a newer one follows: an entry of the ledger in its place would cost more.
        self._arrived: list[Arrived] = []
        self._arrived_bytes = 0
        #: Processes about which all nodes must be told at the next tick.
        self._changed: dict[Process, None] = {}
        self._ticked_at = now
        fleet.relay = self.relay
        fleet.note_change = self._note_change
        fleet.nodes = self.nodes

    def nodes(self, now: float) -> tuple[NodeState, ...]:
        """All nodes, including this one."""
        return tuple(self._state(name, now) for name in self._names)

    def is_linked(self, name: str) -> bool:
        """Whether there is a link to this node."""
        return self._peers[name].is_linked

    def link(self, name: str, now: float) -> None:
        """Note that the link to a node is up."""
        peer = self._peers[name]
        if self._source is peer:
            self._source = None
        peer.lose(now)
        peer.missing_since = None
        self._linked = [one for one in self._peers.values() if one.is_linked]

    def lose(self, name: str, now: float) -> None:
        """Note that the link to a node is lost."""
        peer = self._peers[name]
        peer.lose(now)
        self._linked = [one for one in self._peers.values() if one.is_linked]
        if self._source is peer:
            self._source = None
            self._ask()

    def relay(self, process: Process, number: int, datagram: bytes) -> None:
        """Pass on a datagram that a client has sent to this node."""
        if self._linked:
            framed = frame(_REPORT, datagram)
            self._arrived.append((process, number, framed))
            self._arrived_bytes += len(framed)
            if self._arrived_bytes >= BATCH_BYTES:
                self._spread()

    def tick(self, now: float) -> list[str]:
        """Do what is due; call this at least once a second. Returns the nodes whose links must be given up.

        A standstill of this node is not a silence of the others: what they have sent meanwhile has not been read
        yet.
        """
        if now - self._ticked_at >= STANDSTILL_S:
            for peer in self._linked:
                peer.heard_at = max(peer.heard_at, now - PULSE_S)
        self._ticked_at = now
        for process in self._changed:
            self._tell(process)
        self._changed.clear()
        return [peer.name for peer in self._linked if now - peer.heard_at >= SILENCE_S]

    def ready(self, name: str, now: float) -> bool:
        """Whether `step` has something to send to this node."""
        peer = self._peers[name]
        return peer.missing_since is None and bool(
            now >= peer.pulse_due
            or self._arrived
            or peer.answers
            or peer.is_asking
            or peer.changed
            or peer.batch
            or peer.queue
        )

    def step(self, name: str, now: float) -> bytes:
        """The next bytes to send to this node, at most some milliseconds' work; empty if there are none."""
        peer = self._peers[name]
        if not peer.is_linked:
            return b""
        pieces: list[bytes] = []
        if now >= peer.pulse_due:
            peer.pulse_due = now + PULSE_S
            pulse = Pulse(self._exchange.counting_for(now), self.is_behind)
            pieces.append(frame(_PULSE, encode_pulse(pulse)))
        pieces += peer.answers
        peer.answers.clear()
        if self._arrived:
            self._spread()
        if peer.batch:
            pieces.append(peer.batch_bytes)
            peer.batch, peer.batch_bytes = [], b""
        else:
            pieces += peer.queue.take(STEP_BYTES)
        if peer.is_asking:
            pieces.append(self._answer(peer, now))
        elif peer.changed:
            processes = deque(peer.changed)
            peer.changed.clear()
            pieces.append(self._entries(processes, now))
            peer.changed.update(dict.fromkeys(processes))
        return b"".join(pieces)

    def receive(self, name: str, one: Frame, now: float, wall_time: float) -> None:
        """Handle a frame from another node.

        Raises:
            PacketError: If it violates the protocol, or if there is no memory for its ledger: the link must then
                be given up. The next one brings the whole ledger.
        """
        peer = self._peers[name]
        peer.heard_at = now
        try:
            self._take(peer, one, now, wall_time)
        except MemoryError:
            raise PacketError("there is no memory left for what it tells") from None

    def _take(self, peer: _Peer, one: Frame, now: float, wall_time: float) -> None:
        kind, payload = one
        if kind is _REPORT:
            self._fleet.receive(payload, now, wall_time, _RELAYED, source=peer.source)
        elif kind is _PULSE:
            self._take_pulse(peer, decode_pulse(payload), now)
        elif kind is _LEDGER:
            self._take_ledger(peer, payload, now)
        elif kind is _ASK:
            self._begin_answer(peer, now)
        elif kind is _ROWS:
            self._take_rows(peer, payload, now)
        elif kind is _TOLD:
            self._end_ledger(peer, decode_told(payload), now)
        else:
            raise PacketError(f"{kind.name} from a node")

    def _state(self, name: str, now: float) -> NodeState:
        if name == self.name:
            return NodeState(name, is_here=True, missing_for=None)
        since = self._peers[name].missing_since
        return NodeState(name, is_here=False, missing_for=None if since is None else max(0.0, now - since))

    def _spread(self) -> None:
        """Queue what has arrived for every linked node; it is joined into bytes once."""
        arrived, self._arrived, self._arrived_bytes = self._arrived, [], 0
        framed = b"".join([datagram for _, _, datagram in arrived])
        for peer in self._linked:
            peer.bring(arrived, framed)

    def _note_change(self, process: Process) -> None:
        self._changed[process] = None

    def _tell(self, process: Process, but: _Peer | None = None) -> None:
        for peer in self._linked:
            if peer is not but:
                peer.changed[process] = None

    def _take_pulse(self, peer: _Peer, pulse: Pulse, now: float) -> None:
        peer.pulse = pulse
        changed = self._exchange.learn_since(pulse.counting_for, now)
        if changed is not None:
            self.is_behind = True
            for process in changed:
                self._tell(process)
        self._ask()

    def _is_source(self, peer: _Peer) -> bool:
        """Whether a node can bring this one up to date: it must not be behind itself."""
        return peer.is_linked and peer.pulse is not None and not peer.pulse.is_behind

    def _ask(self) -> None:
        """Ask the nodes that have not been asked; a single one first if this node is behind."""
        if self._source is not None:
            return
        if self.is_behind and (source := next(filter(self._is_source, self._linked), None)) is not None:
            self._source = source
            self._ask_one(source)
            return
        for peer in self._linked:
            if peer.pulse is not None and not peer.was_asked:
                self._ask_one(peer)

    def _ask_one(self, peer: _Peer) -> None:
        peer.was_asked = True
        peer.answers.append(frame(_ASK))

    def _begin_answer(self, peer: _Peer, now: float) -> None:
        peer.is_asking = True
        peer.changed.clear()
        peer.asked = deque(self._exchange.processes())
        peer.forgotten = deque(self._exchange.forgotten())
        peer.forgotten_for = self._exchange.forgotten_for(now)

    def _answer(self, peer: _Peer, now: float) -> bytes:
        """The next piece of the answer: entries, then sums of rows, then the end."""
        if peer.asked:
            return self._entries(peer.asked, now)
        if peer.forgotten:
            encoded: list[bytes] = []
            while peer.forgotten and len(encoded) < CHUNK_ENTRIES and sum(map(len, encoded)) < CHUNK_BYTES:
                encoded.append(encode_row_sums(peer.forgotten.popleft()))
            return frame(_ROWS, chunk(encoded))
        peer.is_asking = False
        return frame(_TOLD, encode_told(peer.forgotten_for))

    def _entries(self, processes: deque[Process], now: float) -> bytes:
        """The entries of some of these processes, which are removed from the deque."""
        encoded: list[bytes] = []
        size = 0
        while processes and len(encoded) < CHUNK_ENTRIES and size < CHUNK_BYTES:
            encoded.append(encode_entry(self._exchange.entry(processes.popleft(), now)))
            size += len(encoded[-1])
        return frame(_LEDGER, chunk(encoded))

    def _take_ledger(self, peer: _Peer, payload: bytes, now: float) -> None:
        entries = decode_ledger(payload)
        if not peer.was_asked:
            return  # It is asked later, and then sends everything.
        for entry in entries:
            try:
                learned = self._exchange.join(entry, now)
            except PacketError:
                self.refused += 1
                continue
            if learned is None:
                continue
            if learned.has_learned:
                self._tell(learned.process, but=peer)
            if learned.knows_more:
                peer.changed[learned.process] = None

    def _take_rows(self, peer: _Peer, payload: bytes, now: float) -> None:
        rows = decode_rows(payload)
        if peer is not self._source:
            return
        for row in rows:
            try:
                self._exchange.join_forgotten(row, now)
            except PacketError:
                self.refused += 1

    def _end_ledger(self, peer: _Peer, forgotten_for: float | None, now: float) -> None:
        if peer is self._source:
            self._source = None
            self.is_behind = False
            self._exchange.learn_forgotten(forgotten_for, now)
        self._ask()
