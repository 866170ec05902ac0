"""The configuration's sections ``[loggers]``, ``[handlers]`` and ``[formatters]``, for the daemon's log.

The format is that of `logging.config.fileConfig`, to which connmon passed its configuration. That function's own
errors name neither file nor section, so everything is checked before it is called.
"""

import ast
import logging
from collections.abc import Mapping
from configparser import RawConfigParser, SectionProxy
from importlib import import_module

from poolhouse.configuration.service import Configuration, LoggingSection
from poolhouse.errors import SettingError
from poolhouse.shortage import words_of

#: The kinds of sections; each name in a list has a section of its own.
_KINDS = {"loggers": "logger", "handlers": "handler", "formatters": "formatter"}
#: The styles of a format, each with an example.
_EXAMPLES = {"%": "%(message)s", "{": "{message}", "$": "$message"}


def has_logging(configuration: Configuration) -> bool:
    """Whether the configuration defines logging."""
    return bool(configuration.logging)


def check_logging(configuration: Configuration) -> None:
    """Check the sections without making a handler.

    Raises:
        SettingError: If one is wrong; names the file, the line and what was expected. Or if `logging.config`
            cannot be loaded.
    """
    if has_logging(configuration):
        # Only here: without sections, no start of connmond needs what it imports.
        try:
            import_module("logging.config")
        except (ImportError, OSError) as error:  # Without a free descriptor, for example.
            raise SettingError(configuration.source, f"no log can be defined: {words_of(error)}") from None
        _Check(configuration.source, configuration.logging).run()


def apply_logging(configuration: Configuration) -> None:
    """Make the handlers and loggers of the sections, which replace the present ones.

    Raises:
        SettingError: If one is wrong, or a handler cannot be made; the old ones are gone then, too.
    """
    check_logging(configuration)
    from logging.config import fileConfig

    parser = _Parser(configuration.logging)
    try:
        fileConfig(parser, disable_existing_loggers=False)
    except Exception as error:
        section = configuration.logging[parser.read_last]
        line = section.lines.get("args", section.lines.get("class", section.line))
        # The text of other errors may contain an argument, and so a password.
        why = type(error).__name__
        if isinstance(error, OSError):
            why = f"{error.filename!r}: {error.strerror}" if error.filename else str(error.strerror or error)
        elif "class" in section.options:
            why += f"; expected what {section.options['class']} takes"
        raise SettingError(
            f"{configuration.source}, line {line}", f"[{parser.read_last}] cannot be used: {why}"
        ) from None


class _Parser(RawConfigParser):
    """The sections as `logging.config.fileConfig` reads them.

    Attributes:
        read_last: The last section that was read: after a handler or formatter that cannot be made, none is read.
    """

    def __init__(self, sections: Mapping[str, LoggingSection]) -> None:
        super().__init__(strict=False)
        for name, section in sections.items():
            self[name] = dict(section.options)
        self.read_last = "loggers"

    def __getitem__(self, key: str) -> SectionProxy:
        self.read_last = key
        return super().__getitem__(key)


class _Check:
    """Checks one configuration's sections."""

    def __init__(self, source: str, sections: Mapping[str, LoggingSection]) -> None:
        self._source = source
        self._sections = sections

    def run(self) -> None:
        keys = {kind: self._keys(kind) for kind in _KINDS}
        if "root" not in keys["loggers"]:
            raise self._mistake(self._sections["loggers"], "keys", "[loggers] names no root; expected keys = root")
        for name in keys["loggers"]:
            self._logger(name, keys["handlers"])
        for name in keys["handlers"]:
            self._handler(name, keys["formatters"], keys["handlers"])
        for name in keys["formatters"]:
            self._formatter(name)

    def _keys(self, kind: str) -> list[str]:
        """The names in a list, each of which must have a section."""
        if kind not in self._sections:
            raise SettingError(self._source, f"expected a section [{kind}], as there are others for the log")
        section = self._sections[kind]
        if "keys" not in section.options:
            raise self._mistake(section, None, f"[{kind}] has no keys; expected keys = name, name")
        names = _names(section.options["keys"])
        for name in names:
            if f"{_KINDS[kind]}_{name}" not in self._sections:
                raise self._mistake(
                    section, "keys", f"[{kind}] names {name!r}; expected a section [{_KINDS[kind]}_{name}]"
                )
        return names

    def _logger(self, name: str, handlers: list[str]) -> None:
        section, title = self._sections[f"logger_{name}"], f"[logger_{name}]"
        if name != "root" and "qualname" not in section.options:
            raise self._mistake(section, None, f"{title} has no qualname; expected the logger's name")
        if "handlers" not in section.options:
            raise self._mistake(section, None, f"{title} has no handlers; expected handlers = name, name, or none")
        for handler in _names(section.options["handlers"]):
            if handler not in handlers:
                there = f"expected one of [handlers]: {', '.join(handlers)}"
                raise self._mistake(section, "handlers", f"{title} names the handler {handler!r}; {there}")
        propagate = section.options.get("propagate", "1")
        if not propagate.isdigit():
            raise self._mistake(section, "propagate", f"propagate: expected 1 or 0, not {propagate!r}")
        self._level(section)

    def _handler(self, name: str, formatters: list[str], handlers: list[str]) -> None:
        section, title = self._sections[f"handler_{name}"], f"[handler_{name}]"
        if "class" not in section.options:
            raise self._mistake(section, None, f"{title} has no class; expected class = StreamHandler, or another")
        self._class(section, title, logging.Handler)
        formatter = section.options.get("formatter", "")
        if formatter and formatter not in formatters:
            there = f"expected one of [formatters]: {', '.join(formatters)}"
            raise self._mistake(section, "formatter", f"{title} names the formatter {formatter!r}; {there}")
        target = section.options.get("target", "")
        if target and target not in handlers:
            there = f"expected one of [handlers]: {', '.join(handlers)}"
            raise self._mistake(section, "target", f"{title} names the handler {target!r}; {there}")
        for key, kind, example in (("args", ast.Tuple, "(sys.stderr,)"), ("kwargs", ast.Dict, "{'delay': True}")):
            try:
                tree = ast.parse(section.options.get(key, example), mode="eval").body
            except (SyntaxError, ValueError):
                tree = None
            if not isinstance(tree, kind):
                raise self._mistake(section, key, f"{title} has wrong {key}; expected such as {key} = {example}")
        self._level(section)

    def _formatter(self, name: str) -> None:
        section, title = self._sections[f"formatter_{name}"], f"[formatter_{name}]"
        style = section.options.get("style", "%")
        if style not in _EXAMPLES:
            raise self._mistake(section, "style", f"style: expected one of {' '.join(_EXAMPLES)}, not {style!r}")
        if "class" in section.options:
            self._class(section, title, logging.Formatter)
            return  # The class may support other fields.
        try:
            formatter = logging.Formatter(section.options.get("format"), style=style)  # type: ignore[arg-type]
            formatter.format(logging.LogRecord("", logging.INFO, "", 0, "", None, None))
        except Exception as error:  # The kind of error depends on the format's style and fields.
            sentence = f"{title} has a wrong format ({error}); expected such as {_EXAMPLES[style]}"
            raise self._mistake(section, "format", sentence) from None

    def _class(self, section: LoggingSection, title: str, base: type) -> None:
        name = section.options["class"]
        found = _found(name)
        if not (isinstance(found, type) and issubclass(found, base)):
            raise self._mistake(
                section, "class", f"{title} names the class {name!r}; expected a {base.__name__} that exists"
            )

    def _level(self, section: LoggingSection) -> None:
        level = section.options.get("level")
        names = [logging.getLevelName(number) for number in (10, 20, 30, 40, 50)]
        if level is not None and level not in logging.getLevelNamesMapping():
            raise self._mistake(section, "level", f"level: expected one of {', '.join(names)}, not {level!r}")

    def _mistake(self, section: LoggingSection, key: str | None, sentence: str) -> SettingError:
        line = section.line if key is None else section.lines.get(key, section.line)
        # A value may go on in the next line, but the sentence is a line of the log.
        return SettingError(f"{self._source}, line {line}", " ".join(sentence.split()))


def _names(text: str) -> list[str]:
    """The names in a list, split as by `logging.config`."""
    return [name for part in text.split(",") if (name := part.strip())]


def _found(name: str) -> object:
    """The class of this name, from `logging` or any importable module."""
    first, *others = name.split(".")
    found: object = getattr(logging, first, None)
    try:
        if found is None:
            found, path = import_module(first), first
            for part in others:
                path += f".{part}"
                found = getattr(found, part) if hasattr(found, part) else import_module(path)
        else:
            for part in others:
                found = getattr(found, part)
    except Exception:  # A foreign module may raise anything when it is imported.
        return None
    return found
