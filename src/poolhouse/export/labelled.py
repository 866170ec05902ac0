"""Lines of the application and verdicts with their labels, for every format of an export."""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

from poolhouse.clean import clean
from poolhouse.export.families import CAUSE_LABEL, LINE_LABEL, POOL_LABEL, SERVICE_LABEL, SEVERITY_LABEL
from poolhouse.fleet.holders import Line
from poolhouse.meter.signs import VIA
from poolhouse.verdicts.verdict import Culprit, Verdict

#: Names and values; none of the values is empty.
Labels = tuple[tuple[str, str], ...]


class Labelled:
    """Figures of lines and of verdicts, by distinct labels.

    Attributes:
        lines: Lines by their labels in the format's spelling. Lines with the same text are joined.
        verdicts: Verdicts in the same way. Of those with the same labels, the first is kept.
    """

    def __init__(self, write: Callable[[Labels], bytes]) -> None:
        """Start with nothing; `write` writes labels in the format."""
        self._write = write
        self.lines: dict[bytes, Line] = {}
        self.verdicts: dict[bytes, Verdict] = {}

    def add_lines(self, lines: Iterable[Line]) -> None:
        """Add lines that hold connections."""
        for line in lines:
            labels = _written_line(self._write, line.program, line.site)
            known = self.lines.setdefault(labels, line)
            if known is not line:
                self.lines[labels] = _together(known, line)

    def add_verdicts(self, verdicts: Iterable[Verdict]) -> None:
        """Add standing verdicts, the main one first."""
        for verdict in verdicts:
            self.verdicts.setdefault(self._write(verdict_labels(verdict)), verdict)


def line_labels(program: str, site: str) -> Labels:
    """The program, and the line with the helper through which it takes its connections."""
    return ((SERVICE_LABEL, program), (LINE_LABEL, clean(site)))


@lru_cache(8192)
def _written_line(write: Callable[[Labels], bytes], program: str, site: str) -> bytes:
    """A line's labels; cached, because most lines are exported again and again."""
    return write(line_labels(program, site))


def verdict_labels(verdict: Verdict) -> Labels:
    """The program and the cause; the pool or else its database, and the line, if the verdict names them."""
    labels = (
        (SERVICE_LABEL, verdict.program),
        (CAUSE_LABEL, clean(verdict.cause)),
        (SEVERITY_LABEL, verdict.severity),
        (POOL_LABEL, clean(verdict.pool or verdict.target)),
        (LINE_LABEL, "" if verdict.culprit is None else clean(_line(verdict.culprit))),
    )
    return tuple(label for label in labels if label[1])


def _line(culprit: Culprit) -> str:
    """The line in the words of `line_labels`."""
    return culprit.place + (VIA + culprit.via if culprit.via else "")


def _together(one: Line, other: Line) -> Line:
    return one._replace(
        open=one.open + other.open,
        oldest_s=max(one.oldest_s, other.oldest_s),
        held_s=one.held_s + other.held_s,
    )


@lru_cache(256)
def labels_of(text: str) -> Labels:
    r"""The labels in the spelling of the families' table, parsed.

    >>> labels_of('limit="a\\"b",db_client_connection_state="idle"'), labels_of("")
    ((('limit', 'a"b'), ('db_client_connection_state', 'idle')), ())
    """
    return tuple((name, _unescaped(value)) for name, value in _LABEL.findall(text))


_LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"', re.ASCII)


def _unescaped(value: str) -> str:
    return re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], value)
