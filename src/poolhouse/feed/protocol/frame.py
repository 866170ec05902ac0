"""One frame of the feed: the server's introduction and a snapshot, as JSON.

``[server, snapshot]``, each as the list of its fields in the order in which `Server` and
`poolhouse.fleet.snapshot.Snapshot` declare them (see `poolhouse.feed.protocol.plain`).
"""

import json
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import chain
from typing import NamedTuple, Protocol

from poolhouse.errors import PacketError
from poolhouse.feed.protocol.chunks import Piece, chunks_of, compress, is_too_large
from poolhouse.feed.protocol.plain import decoder, encoder
from poolhouse.fleet.process_state import without_use
from poolhouse.fleet.snapshot import Event, Health, Holder, PoolRow, ProcessRow, Row, Snapshot, Times
from poolhouse.meter.signs import Finding, ProcessSigns
from poolhouse.verdicts.verdict import Verdict

NO_TIMES = Times()
#: Text is compressed in pieces of this many characters, a millisecond's work.
_PIECE_BYTES = 48 * 1024
#: With this detail a row has no durations; from these degrees of lightness on, there are fewer processes, and
#: rows.
_LEAST_DETAIL, _FEWER_PROCESSES, _FEWER_ROWS = 2, 3, 19
#: The most lists, objects, quotes and commas in a frame: more than twice what 20,000 processes need. Without a
#: limit, 30 kB from a hostile server would become a gigabyte of empty lists.
_MOST = {b"[": 1 << 20, b"{": 1 << 20, b'"': 1 << 21, b",": 1 << 23}


class Server(NamedTuple):
    """The sender of the snapshots."""

    #: For example ``connmond 0.1.0``.
    name: str
    #: Seconds between two snapshots.
    interval: float = 1.0
    #: Where it listens for reports, as ``host:port``.
    reports: tuple[str, ...] = ()
    #: Whether it understands `Missing`.
    sends_again: bool = False


class Frame(NamedTuple):
    """The content of one frame."""

    server: Server
    snapshot: Snapshot


class Processes(Protocol):
    """The source of a frame's processes."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def rows(self, with_times: bool, most: int) -> Iterator[ProcessRow | None]:
        """The first `most` rows in small steps, ``None`` between them, with durations or without."""
        ...

    def holders(self) -> Iterator[list[Holder] | None]:
        """The lines of their program that hold connections, in small steps: ``None`` after each, and then them."""
        ...


class Base:
    """The common part of all frames of one moment: a snapshot without its processes."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._pieces: dict[int, list[Piece]] = {}
        #: The encoder of each level of detail; several frames may wait for it.
        self._encoding: dict[int, Iterator[None]] = {}

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """The standing verdicts."""
        return self._snapshot.verdicts

    def holders(self, program: str | None) -> list[Holder]:
        """The lines of all other programs."""
        return [holder for holder in self._snapshot.holders if holder.program != program]

    @property
    def is_encoded(self) -> bool:
        """Whether any level of detail is encoded."""
        return bool(self._pieces)

    def pieces(self, detail: int) -> list[Piece]:
        """The result of `steps` for this level of detail."""
        return self._pieces[detail]

    def steps(self, detail: int) -> Iterator[None]:
        """Encode in small steps, unless that has been done.

        Args:
            detail: 0 for all, 1 without the durations since the start, 2 without any durations, and from there on
                half as many programs and hosts each time.
        """
        encoding = self._encoding.setdefault(detail, self._encode(detail))
        while detail not in self._pieces:
            # Not `yield from`, which would end the encoding for all when one of the waiting frames is given up.
            next(encoding, None)
            yield

    def _encode(self, detail: int) -> Iterator[None]:
        packer = _Packer()
        snapshot = self._snapshot
        most = max(len(snapshot.programs), len(snapshot.hosts)) >> max(0, detail - 2)
        packer.add(f"{_json(_FLOAT(snapshot.wall_time))},{_row_text(snapshot.fleet, detail)},[")
        for rows, end in ((snapshot.programs, "],["), (snapshot.hosts, "],")):
            for number, row in enumerate(rows[:most]):
                packer.add(f"{',' * (number > 0)}{_row_text(row, detail)}")
                yield
            packer.add(end)
        events = snapshot.events if detail <= _LEAST_DETAIL else ()
        packer.add(f"{_json(_HEALTH(snapshot.health))},{_json(_EVENTS(events))},")
        yield
        self._pieces[detail] = packer.finish()


def frame_steps(
    server: Callable[[], Server], base: Base, program: str | None, processes: Processes, lightness: int
) -> Generator[None, None, tuple[list[bytes], int]]:
    """Encode a frame in small steps.

    A frame that would be too large loses what is least important first: the histograms of processes and of lines,
    all histograms since the start, all histograms, then the processes from the end, half of them at a time, and
    then rows.

    Args:
        server: Returns the introduction; called last.
        base: Everything but the processes.
        program: The program whose processes are included; ``None`` for none.
        processes: Those processes.
        lightness: How much to leave out at first: the value for the last frame of this program.

    Returns:
        The chunks, and how much had to be left out.
    """
    while True:
        detail = min(max(0, lightness - 1), _LEAST_DETAIL) + max(0, lightness - _FEWER_ROWS)
        yield from base.steps(detail)
        packer = _Packer(base.pieces(detail))
        packer.add(f"{_json(program)},[")
        most = len(processes) >> max(0, lightness - _FEWER_PROCESSES)
        comma = ""
        for row in processes.rows(lightness == 0, most) if most else ():
            if row is not None:
                for text in _process_texts(row):
                    packer.add(comma + text)
                    comma = ""
                    yield
                comma = ","
            if packer.is_too_large:
                break
            yield
        packer.add("],[")
        comma = ""
        for found in chain(processes.holders(), [base.holders(program)]):
            for holder in found or ():
                packer.add(f"{comma}{_json(_HOLDER(holder if lightness == 0 else _without_use(holder)))}")
                comma = ","
            yield
        packer.add(f"],{_json(_VERDICTS(base.verdicts))}]]")
        pieces = packer.finish()
        head = compress(f"[{_json(_SERVER(server()))},[".encode())
        if not is_too_large([head, *pieces]):
            return chunks_of([head, *pieces]), lightness
        lightness += 1


def encode_frame(frame: Frame) -> list[bytes]:
    """The chunks of a frame, in one step; `frame_steps` describes what a large one loses."""
    own = [holder for holder in frame.snapshot.holders if holder.program == frame.snapshot.program]
    steps = frame_steps(
        lambda: frame.server,
        Base(frame.snapshot),
        frame.snapshot.program,
        _GivenProcesses(frame.snapshot.processes, own),
        0,
    )
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            chunks: list[bytes] = stop.value[0]
            return chunks


def decode_frame(content: bytes) -> Frame:
    """Decode the bytes of a reassembled frame.

    Raises:
        PacketError: If they are not a frame.
    """
    if any(content.count(sign) > most for sign, most in _MOST.items()):
        raise PacketError("a frame of too many values")
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise PacketError(f"a frame that is not JSON ({type(error).__name__})") from None
    frame: Frame = _DECODE(values)
    return frame


_DECODE = decoder(Frame)
_SERVER, _ROW, _HEALTH, _FLOAT = encoder(Server), encoder(Row), encoder(Health), encoder(float)
_EVENTS, _POOL, _OPTIONAL_FLOAT = encoder(tuple[Event, ...]), encoder(PoolRow), encoder(float | None)
_HOLDER, _VERDICTS = encoder(Holder), encoder(tuple[Verdict, ...])
_SIGNS, _FINDINGS = encoder(ProcessSigns | None), encoder(tuple[Finding, ...])


class _GivenProcesses(NamedTuple):
    """Processes whose rows exist already."""

    processes: tuple[ProcessRow, ...]
    #: The holders of their program.
    own: list[Holder]

    def __len__(self) -> int:
        return len(self.processes)

    def holders(self) -> Iterator[list[Holder] | None]:
        yield self.own

    def rows(self, with_times: bool, most: int) -> Iterator[ProcessRow | None]:
        for row in self.processes[:most]:
            yield row if with_times else _without_histograms(row)


class _Packer:
    """Compresses text piece by piece."""

    def __init__(self, pieces: Sequence[Piece] = ()) -> None:
        self._pieces = list(pieces)
        self._text: list[str] = []
        self._length = 0

    @property
    def is_too_large(self) -> bool:
        """Whether the compressed text is already larger than a frame."""
        return is_too_large(self._pieces)

    def add(self, text: str) -> None:
        self._text.append(text)
        self._length += len(text)
        if self._length >= _PIECE_BYTES:
            self._flush()

    def finish(self) -> list[Piece]:
        self._flush()
        return self._pieces

    def _flush(self) -> None:
        self._pieces.append(compress("".join(self._text).encode()))
        self._text, self._length = [], 0


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _row_text(row: Row, detail: int) -> str:
    if detail >= _LEAST_DETAIL:
        row = row._replace(recent=NO_TIMES, since_start=NO_TIMES)
    elif detail:
        row = row._replace(since_start=NO_TIMES)
    return _json(_ROW(row))


def _process_texts(row: ProcessRow) -> Iterator[str]:
    """The list of the row's fields, pool by pool: a process may have a hundred pools."""
    head = [row.host, row.program, row.token, _ROW(row.sums), _OPTIONAL_FLOAT(row.uptime), row.lost]
    yield f"{_json(head)[:-1]},["
    for number, pool in enumerate(row.pools):
        yield f"{',' * (number > 0)}{_json(_POOL(pool))}"
    seal = f"{_json(row.user)},{_json(row.uses_old_password)}"
    yield f"],{_json(_SIGNS(row.signs))},{_json(_FINDINGS(row.findings))},{seal}]"


def _without_use(holder: Holder) -> Holder:
    return holder._replace(site=holder.site._replace(use=None))


def _without_histograms(process: ProcessRow) -> ProcessRow:
    pools: list[PoolRow] = []
    for pool in process.pools:
        signs = None if pool.reading.signs is None else without_use(pool.reading.signs)
        reading = pool.reading._replace(wait=None, use=None, create=None, signs=signs)
        pools.append(pool._replace(recent=NO_TIMES, reading=reading))
    return process._replace(pools=tuple(pools), sums=process.sums._replace(recent=NO_TIMES, since_start=NO_TIMES))
