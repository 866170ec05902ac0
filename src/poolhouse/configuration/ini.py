"""An INI file as Python 2's ``ConfigParser`` reads it, with line numbers.

connmon's releases read their file with that module, so the format is what it accepted. A setting is
``name: value`` or ``name = value``. A line that begins with a blank continues the value before it. ``#`` or ``;``
at the start of a line begins a comment, and so does ``;`` after a blank. ``[DEFAULT]`` applies to every section.
``%(name)s`` refers to another value of the section. Python 3's module reads some of this differently and has no
line numbers.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from poolhouse.errors import SettingError
from poolhouse.record import Record

_SECTION = re.compile(r"\[(?P<name>[^]]+)\]")
_SEPARATOR = re.compile("[:=]")
_REFERENCE = re.compile(r"%%|%\((?P<name>[^)]{1,200})\)s")
_DEFAULT = "DEFAULT"
_MAY_HOLD_PASSWORD = re.compile("secret|passw|auth", re.IGNORECASE)
#: How deep references may be nested: the depth that ``ConfigParser`` allows.
_DEPTH = 10
#: The most characters of a value with its references replaced: a few lines that refer to each other could grow
#: exponentially.
_LONGEST_VALUE = 1 << 20


class Line(NamedTuple):
    """One line of a value."""

    number: int
    text: str


class Option(Record, hidden=("lines",)):
    """One setting as it is written in the file.

    Attributes:
        name: The name, in lower case.
        lines: The value's lines, stripped; the first one is next to the name, so there is at least one. The value
            may be a password, so the `repr` leaves it out.
    """

    name: str
    lines: list[Line]

    @property
    def line(self) -> int:
        """The line where the setting begins."""
        return self.lines[0].number

    @property
    def raw(self) -> str:
        """The value as it is written."""
        return "\n".join(line.text for line in self.lines).strip()


class Section:
    """The settings under one ``[name]``; if a name is set twice, the later setting counts."""

    __slots__ = ("line", "name", "options")

    def __init__(self, name: str, line: int) -> None:
        self.name = name
        self.line = line
        self.options: dict[str, Option] = {}


class Ini:
    """A whole file.

    Attributes:
        source: The file's path, or another name for messages.
        sections: By name, in the file's order; ``[DEFAULT]`` is not among them.
    """

    def __init__(self, source: str, sections: dict[str, Section], defaults: Section) -> None:
        self.source = source
        self.sections = sections
        self._defaults = defaults

    def options(self, section: Section) -> dict[str, Option]:
        """The section's settings, those of ``[DEFAULT]`` included."""
        return self._defaults.options | section.options

    def value(self, section: Section, name: str) -> str | None:
        """A setting's value with references replaced; ``None`` if it is missing, empty or ``none``.

        A reference to an unknown name, and a ``%`` that begins no reference, are left as they are.

        Raises:
            SettingError: If references make the value too long; it names the line.
        """
        option = self.options(section).get(name)
        if option is None:
            return None
        value = self.text(section, option)
        return None if value.lower() in ("", "none") else value

    def text(self, section: Section, option: Option) -> str:
        """A setting of the section as it is written, with references replaced."""
        replaced = self._replaced(section, option.raw)
        if len(replaced) > _LONGEST_VALUE:
            raise SettingError(
                self.where(option.line),
                f"{option.name}: its references make it longer than {_LONGEST_VALUE:,} characters",
            )
        return replaced

    def where(self, line: int) -> str:
        """Names a line in a message."""
        return f"{self.source}, line {line}"

    def _replaced(self, section: Section, text: str, depth: int = _DEPTH) -> str:
        options = self.options(section)
        pieces: list[str] = []
        length = at = 0
        for match in _REFERENCE.finditer(text):
            option = None if match["name"] is None else options.get(match["name"].lower())
            if match["name"] is None:
                found = "%"
            elif option is None or depth == 0:
                found = match[0]
            else:
                found = self._replaced(section, option.raw, depth - 1)
            pieces += (text[at : match.start()], found)
            at = match.end()
            length += len(pieces[-2]) + len(found)
            if length > _LONGEST_VALUE:  # Too long whatever follows.
                break
        return "".join((*pieces, text[at:]))


def parse_ini(text: str, source: str) -> Ini:
    """Read a file's text.

    Args:
        text: The text.
        source: The name of the file in messages.

    Raises:
        SettingError: If a line is neither a section, a setting, a continuation nor a comment; it names the line.
    """
    defaults = Section(_DEFAULT, 0)
    sections: dict[str, Section] = {}
    section: Section | None = None
    option: Option | None = None
    for number, line in _contents(text):
        if line[0].isspace() and option is not None:
            option.lines.append(Line(number, line.strip()))
        elif match := _SECTION.match(line):
            name, option = match["name"], None
            section = defaults if name == _DEFAULT else sections.setdefault(name, Section(name, number))
        elif section is None:
            raise SettingError(f"{source}, line {number}", f"expected [section] first, not {shown(line)}")
        elif (match := _SEPARATOR.search(line)) and (name := line[: match.start()].strip().lower()):
            value = _without_comment(line[match.end() :])
            option = section.options[name] = Option(name, [Line(number, value)])
        else:
            raise SettingError(f"{source}, line {number}", f"expected name = value, not {shown(line)}")
    return Ini(source, sections, defaults)


def shown(line: str, word: str | None = None) -> str:
    """A line or one of its words, quoted for a message; only the first word if the line may hold a password."""
    line = line.strip()
    if _MAY_HOLD_PASSWORD.search(line):
        return repr(re.split(r"[\s:=]", line, maxsplit=1)[0] + " …")
    return repr(word or line)


def _contents(text: str) -> Iterator[Line]:
    """The lines with content: neither blank nor comments."""
    for number, line in enumerate(text.splitlines(), 1):
        is_remark = line[:1] in ("r", "R") and line.split(None, 1)[0].lower() == "rem"
        if line.strip() and line[0] not in "#;" and not is_remark:
            yield Line(number, line)


def _without_comment(value: str) -> str:
    """The value next to its name: a ``;`` after a blank begins a comment, and ``""`` is an empty value."""
    at = value.find(";")
    if at > 0 and value[at - 1].isspace():
        value = value[:at]
    value = value.strip()
    return "" if value == '""' else value
