"""The window's messages about its connection: live or not, what is wrong, and what to do about it."""

from datetime import tzinfo

from poolhouse.addresses import UNSPECIFIED
from poolhouse.clean import clean
from poolhouse.defaults import REPORTS_PORT
from poolhouse.feed.link import Link, is_refused
from poolhouse.fleet.snapshot import Snapshot
from poolhouse.views.header import LONGEST_NAME, missing_nodes
from poolhouse.views.line import Line, Span, cells, cut, words
from poolhouse.views.units import time_of_day

_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
#: The port as written in an address.
_REPORTS_PORT = str(REPORTS_PORT)
#: The fewest characters to which a service's name is cut.
_LEAST_NAME = 8
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def status(
    link: Link, snapshot: Snapshot | None, now: float, width: int, *, is_paused: bool, zone: tzinfo | None
) -> Line:
    """The right end of the first line: node and service, how fresh the window is, and its time.

    Service and nodes take at most half of what the freshness leaves of the window's `width` cells.
    """
    freshness = _freshness(link, snapshot, now, is_paused=is_paused, zone=zone)
    room = (width - sum(cells(span.text) for span in freshness)) // 2
    place = _place(link, snapshot, room)
    return (*place, Span("  "), *freshness) if place else freshness


def _place(link: Link, snapshot: Snapshot | None, room: int) -> Line:
    """Service and node, and the missing nodes with the times, in the longest form that fits into `room` cells.

    The node that answers is left out first, since every node shows the same; then the service's name is cut; only
    then are the missing nodes counted instead of named.
    """
    if link.service is None:
        return ()
    names = [clean(name, LONGEST_NAME) for name in (link.service, link.node) if name] or [""]
    missing = missing_nodes(snapshot.health) if snapshot is not None else []
    for end in missing or (None,):
        left = room - (cells(end.text) + 1 if end is not None else 0)
        for name in (":".join(names), names[0]):
            if cells(name) <= left:
                return words(Span(name, "strong") if name else None, end)
        if left >= _LEAST_NAME:
            return words(Span(cut(names[0], left), "strong"), end)
    return tuple(missing[-1:]) if missing and cells(missing[-1].text) <= room else ()


def _freshness(link: Link, snapshot: Snapshot | None, now: float, *, is_paused: bool, zone: tzinfo | None) -> Line:
    time = time_of_day(snapshot.wall_time, zone) if snapshot is not None else None
    if is_paused:
        return words(Span("‖ paused", "accent"), time)
    if link.phase in ("refused", "unresolved"):
        return words(Span("! no connection", "bad"), time)
    if link.is_silent(now):
        return words(Span("! silent", "bad"), time)
    if link.phase == "connecting":
        return words(Span("… connecting", "dim"), time)
    if link.phase == "listening" and link.heard_at is None:
        return words(Span("… listening", "dim"), time)
    return words(Span("● live", "good"), time)


def is_fresh(link: Link, now: float) -> bool:
    """Whether the last snapshot is current; if not, the table is drawn dim."""
    return link.phase in ("connected", "listening") and not link.is_silent(now)


def trouble(link: Link, snapshot: Snapshot, now: float, width: int, zone: tzinfo | None) -> Line | None:
    """Why the table is not current, in one line; ``None`` if it is.

    If `width` cells have no room for the time of the table, only the first line of the window shows it.
    """
    if link.phase in ("refused", "unresolved"):
        reason = f" {_refusal(link)}, {_next_try(link, now)}"
    elif link.heard_at is not None and link.is_silent(now):
        reason = f" no report for {now - link.heard_at:.0f} s from {link.address}"
    elif link.phase == "connecting":
        reason = f" connecting to {link.address} again"
    else:
        return None
    whole = Span(f"{reason}; the table below is from {time_of_day(snapshot.wall_time, zone)}.", "bad")
    return (whole if cells(whole.text) <= width else Span(f"{reason}.", "bad"),)


def who_reports(newest: Snapshot | None, program: str | None = None) -> str:
    """Why a server that answers shows no program, or not this one, as half a sentence.

    >>> who_reports(None)
    'no program has reported to it'
    """
    if newest is None or not newest.health.received:
        return "no program has reported to it"
    received, refused = newest.health.received, newest.health.refused
    if received == refused:
        return f"it has refused every datagram that was sent to it ({received:,})"
    if program is not None and (newest.programs or newest.hosts):
        if newest.program != program:
            return f"it does not report the processes of {program}"
        return f"no process of {program} reports to it"
    return "no program reports to it any more"


def nothing_yet(link: Link, snapshot: Snapshot | None, now: float) -> tuple[Line, ...]:
    """The text in the middle of the window while there is no table: what is going on, and what to do."""
    if link.phase in ("refused", "unresolved"):
        return (
            *_noted(link),
            (Span(f"{_refusal(link)}.", "bad"),),
            (Span(_advice(link)),),
            (Span(_next_try(link, now), "dim"),),
        )
    if link.phase == "connecting":
        spinner = _SPINNER[int(now * 10) % len(_SPINNER)]
        tries = f"  try {link.tries}" if link.tries > 1 else ""
        connecting = Span(f"{spinner} ", "accent"), Span(f"connecting to {link.address} …"), Span(tries, "dim")
        return *_noted(link), connecting
    if link.heard_at is not None and link.is_silent(now):
        return ((Span(f"! nothing heard from {link.address} for {now - link.heard_at:.0f} s.", "bad"),),)
    if link.phase == "listening":
        return (
            *_noted(link),
            (Span(f"listening on {link.address}: nothing is being pushed here."),),
            (Span("collectd pushes where its connmon plugin's configuration says", "dim"),),
            (Span(f"  monitor {_as_directive(link.address)}", "accent"),),
            (Span("A connmond that is started on this machine takes over by itself, unless this is", "dim"),),
            (Span("  connmon listen", "accent"),),
        )
    server = f" ({link.server})" if link.server else ""
    why = who_reports(snapshot)
    if (parameters := _service_parameters(link)) is not None:
        return (
            (Span(f"connected to {link.address}{server}."),),
            (Span(f"{why[0].upper()}{why[1:]}. Point one at it by its URL:"),),
            (Span(f"  {parameters}", "accent"),),
        )
    host, port = _reports_to(link)
    port_option = f"&collectd_port={port}" if port != _REPORTS_PORT else ""
    return (
        (Span(f"connected to {link.address}{server}."),),
        (Span(f"{why[0].upper()}{why[1:]}. Point one at it by its URL:"),),
        (Span(f"  ?plugin=collectd&collectd_host={host}{port_option}", "accent"),),
    )


def too_small(width: int, height: int, least: tuple[int, int]) -> tuple[Line, ...]:
    """The text of a window with no room for anything else."""
    return ((Span(f"{least[0]}×{least[1]} needed, {width}×{height} here: the window is too small"),),)


def not_told(link: Link, program: str | None, host: str | None) -> Line:
    """The text of a program's or a host's page before its rows have arrived, or if none can arrive."""
    subject = f"the processes of {program}" if program is not None else f"the programs on {host}"
    if link.server is None:
        return (Span(f" {link.address} reports only sums: {subject} are not known here.", "dim"),)
    return (Span(f" asking {link.address} for {subject} …", "dim"),)


def _noted(link: Link) -> tuple[Line, ...]:
    """The link's note as a line, if it has one."""
    return ((Span(f"{link.note[0].upper()}{link.note[1:]}.", "dim"),),) if link.note else ()


def _advice(link: Link) -> str:
    """What to do if no connection can be made."""
    if link.login:
        return "Name its configuration with --config, or a --user and a --password-file."
    if link.phase == "unresolved":
        return "Is the name right?"
    if link.service is not None:
        return "Is connmond running there?"
    return "Is connmond or the connmon plugin running there?"


def _service_parameters(link: Link) -> str | None:
    """The URL parameters for a node over TCP; ``None`` on this machine, where UDP is simpler."""
    if link.service is None or _split(link.address)[0] in _LOOPBACK:
        return None
    return f"?plugin=connmon&connmon_addr={link.address}"


def _refusal(link: Link) -> str:
    if link.phase == "unresolved":
        return f"{link.address}: {link.error or 'the name is not known'}"
    if link.error and not is_refused(link.error):
        return f"{link.address}: {link.error.rstrip('.')}"
    is_whole = link.service is not None and link.node is None
    return f"{'every node of ' if is_whole else ''}{link.address} refuses the connection"


def _next_try(link: Link, now: float) -> str:
    return "r tries now" if link.next_try is None else f"next try in {max(0.0, link.next_try - now):.0f} s, r now"


def _split(address: str) -> tuple[str, str]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), port


def _as_directive(address: str) -> str:
    host, port = _split(address)
    return f'"{host}" {port}'


def _reports_to(link: Link) -> tuple[str, str]:
    """Host and port for a URL; a server that listens on all addresses gets the name the console uses."""
    host, port = _split(link.reports or f":{_REPORTS_PORT}")
    if not host or host in UNSPECIFIED:
        host = _split(link.address)[0]
    return ("localhost" if host in _LOOPBACK else host), port
