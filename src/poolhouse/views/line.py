"""Lines of text with tones, the output of all views, measured in terminal cells.

A tone says what a piece of text means; each face chooses the colour for it.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Literal, NamedTuple
from unicodedata import category, east_asian_width

#: ``good``: reporting. ``bad``: callers wait, or reports are late. ``dim``: old, or of little importance.
Tone = Literal["plain", "strong", "dim", "accent", "good", "bad"]

#: Shown in place of a value that the source does not send.
UNKNOWN = "–"
ELLIPSIS = "…"


class Span(NamedTuple):
    """A piece of text with one tone."""

    text: str
    tone: Tone = "plain"


Line = tuple[Span, ...]


def text_of(line: Line) -> str:
    """The line without its tones.

    >>> text_of((Span("used "), Span("3", "bad")))
    'used 3'
    """
    return "".join(span.text for span in line)


def cells(text: str) -> int:
    r"""The number of terminal cells that the text takes: two for wide characters, none for combining ones.

    >>> cells("web"), cells("数据库"), cells("e\N{COMBINING ACUTE ACCENT}")
    (3, 6, 1)
    """
    return len(text) if text.isascii() else sum(map(_cells_of, text))


def cut(text: str, width: int) -> str:
    """At most `width` cells of the text; ends with ``…`` if something is missing.

    >>> cut("checkout", 8), cut("checkout", 6), cut("数据库", 5), cut("checkout", 0)
    ('checkout', 'check…', '数据…', '')
    """
    if cells(text) <= width:
        return text
    kept, room = [], width - 1
    for character in text:
        room -= _cells_of(character)
        if room < 0:
            break
        kept.append(character)
    return "".join(kept) + ELLIPSIS if width > 0 else ""


def cut_beginning(text: str, width: int) -> str:
    """At most `width` cells of the text's end; begins with ``…`` if something is missing.

    >>> cut_beginning("db1:5432/shop", 9), cut_beginning("shop", 4)
    ('…432/shop', 'shop')
    """
    return text if cells(text) <= width else cut(text[::-1], width)[::-1]


def left(text: str, width: int) -> str:
    """Exactly `width` cells, the text on the left.

    >>> left("web1", 6), left("数据库", 6), left("数据库", 4)
    ('web1  ', '数据库', '数… ')
    """
    text = cut(text, width)
    return text + " " * (width - cells(text))


def right(text: str, width: int) -> str:
    """Exactly `width` cells, the text on the right.

    >>> right("12", 4)
    '  12'
    """
    text = cut(text, width)
    return " " * (width - cells(text)) + text


def cut_line(line: Line, width: int) -> Line:
    """At most `width` cells of the line.

    >>> cut_line((Span("used "), Span("120/120", "bad")), 9)
    (Span(text='used ', tone='plain'), Span(text='120…', tone='bad'))
    """
    kept: list[Span] = []
    for span in line:
        wanted = cells(span.text)
        if wanted > width:
            return (*kept, Span(cut(span.text, width), span.tone)) if width > 0 else tuple(kept)
        kept.append(span)
        width -= wanted
    return tuple(kept)


def stripped(line: Line) -> Line:
    """The line without spaces at its end.

    >>> stripped((Span("used 3  "), Span("  ", "bad"), Span("")))
    (Span(text='used 3', tone='plain'),)
    """
    while line:
        *before, last = line
        if text := last.text.rstrip(" "):
            return (*before, Span(text, last.tone))
        line = tuple(before)
    return ()


def spread(fields: Sequence[Line], width: int, end: Line = (), gap: int = 2) -> Line:
    """One line of `width` cells: as many of the first fields as fit, from the left, and `end` on the right.

    A field that does not fit is dropped with all that follow; the first one is cut instead.

    >>> used, idle, live = (Span("used 3"),), (Span("idle 12"),), (Span("live"),)
    >>> text_of(spread([used, idle], 24, live))
    ' used 3  idle 12   live '
    >>> text_of(spread([used, idle], 20, live))
    ' used 3        live '
    """
    reserved = sum(cells(span.text) for span in end)
    room = width - 2 - (reserved + gap if reserved else 0)
    spans: list[Span] = [Span(" ")]
    taken = 0
    for field in fields:
        wanted = sum(cells(span.text) for span in field) + (gap if taken else 0)
        if taken and taken + wanted > room:
            break
        if taken:
            spans.append(Span(" " * gap))
        spans.extend(field if taken else cut_line(field, room))
        taken += min(wanted, room) if not taken else wanted
    spans.append(Span(" " * max(0, width - 2 - taken - reserved)))
    return cut_line((*spans, *end, Span(" ")), width)


def words(*parts: str | Span | None) -> Line:
    """A line of parts separated by spaces; ``None`` is left out.

    >>> text_of(words("waiting", Span("12", "bad"), None, "!"))
    'waiting 12 !'
    """
    spans: list[Span] = []
    for part in parts:
        if part is None:
            continue
        if spans:
            spans.append(Span(" "))
        spans.append(part if isinstance(part, Span) else Span(part))
    return tuple(spans)


def beside(blocks: Sequence[Sequence[Line]], width: int, gap: int = 3) -> Iterator[Line]:
    """Blocks of lines side by side, each `width` cells wide.

    >>> blocks = [[(Span("a"),), (Span("b"),)], [(Span("c"),)]]
    >>> [text_of(line) for line in beside(blocks, 2, gap=1)]
    ['a  c ', 'b    ']
    """
    for lines in zip_longest(*blocks, fillvalue=()):
        spans: list[Span] = []
        for index, line in enumerate(lines):
            cut = cut_line(line, width)
            missing = width - sum(cells(span.text) for span in cut)
            spans += [Span(" " * gap if index else ""), *cut, Span(" " * missing)]
        yield tuple(span for span in spans if span.text)


def dimmed(line: Iterable[Span]) -> Line:
    """The same line with only bad parts keeping their tone."""
    return tuple(span if span.tone == "bad" else Span(span.text, "dim") for span in line)


def _cells_of(character: str) -> int:
    if east_asian_width(character) in "WF":
        return 2
    return 0 if category(character) in ("Mn", "Me", "Cf") else 1
