"""The sections of `logging.config.fileConfig` in connmon.cfg, and every mistake in them as one sentence."""

import errno
import textwrap

import pytest

from poolhouse.configuration.parse import parse_configuration
from poolhouse.daemon import logging_sections
from poolhouse.daemon.logging_sections import apply_logging, check_logging, has_logging
from poolhouse.errors import SettingError

SERVICE = "[connmon_service_default]\nname: default\nnodes: a hostname=localhost\n"
#: As connmon's users have it; the first line is the fourth of the file.
SECTIONS = """\
[loggers]
keys = root, connmon

[handlers]
keys = file

[formatters]
keys = plain

[logger_root]
level = WARN
handlers = file

[logger_connmon]
level = DEBUG
handlers =
qualname = connmon

[handler_file]
class = handlers.RotatingFileHandler
args = ('/var/log/connmon.log', 'a', 100000, 3)
formatter = plain
level = NOTSET

[formatter_plain]
format = %(asctime)s %(levelname)-5.5s [%(name)s] %(message)s
datefmt = %H:%M
"""


def configuration(sections: str):
    return parse_configuration(SERVICE + textwrap.dedent(sections), "/etc/connmon.cfg")


def mistake(sections: str) -> str:
    with pytest.raises(SettingError) as caught:
        check_logging(configuration(sections))
    return str(caught.value)


def test_sections_as_the_old_releases_took_them_are_right():
    assert has_logging(configuration(SECTIONS))
    check_logging(configuration(SECTIONS))


def test_without_sections_there_is_nothing_to_check():
    assert not has_logging(configuration(""))
    check_logging(configuration(""))


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("[handlers]\nkeys = file\n", "", ": expected a section [handlers], as there are others for the log"),
        ("keys = file", "key = file", ", line 7: [handlers] has no keys; expected keys = name, name"),
        ("keys = root, ", "keys = ", ", line 5: [loggers] names no root; expected keys = root"),
        (
            "keys = root, ",
            "keys = root\n    ",
            ", line 5: [loggers] names 'root\\nconnmon'; expected a section [logger_root connmon]",
        ),
        ("keys = file", "keys = f", ", line 8: [handlers] names 'f'; expected a section [handler_f]"),
        ("qualname = connmon\n", "", ", line 17: [logger_connmon] has no qualname; expected the logger's name"),
        (
            "handlers =\n",
            "",
            ", line 17: [logger_connmon] has no handlers; expected handlers = name, name, or none",
        ),
        (
            "handlers =\n",
            "handlers = mail\n",
            ", line 19: [logger_connmon] names the handler 'mail'; expected one of [handlers]: file",
        ),
        (
            "qualname = connmon\n",
            "qualname = connmon\npropagate = no\n",
            ", line 21: propagate: expected 1 or 0, not 'no'",
        ),
        (
            "level = WARN",
            "level = loud",
            ", line 14: level: expected one of DEBUG, INFO, WARNING, ERROR, CRITICAL, not 'loud'",
        ),
        (
            "class = handlers.RotatingFileHandler\n",
            "",
            ", line 22: [handler_file] has no class; expected class = StreamHandler, or another",
        ),
        (
            "handlers.RotatingFileHandler",
            "nowhere.Handler",
            ", line 23: [handler_file] names the class 'nowhere.Handler'; expected a Handler that exists",
        ),
        (
            "handlers.RotatingFileHandler",
            "Formatter",
            ", line 23: [handler_file] names the class 'Formatter'; expected a Handler that exists",
        ),
        (
            "100000, 3)",
            "100000, 3",
            ", line 24: [handler_file] has wrong args; expected such as args = (sys.stderr,)",
        ),
        (
            "level = NOTSET",
            "kwargs = 3",
            ", line 26: [handler_file] has wrong kwargs; expected such as kwargs = {'delay': True}",
        ),
        (
            "formatter = plain",
            "formatter = fancy",
            ", line 25: [handler_file] names the formatter 'fancy'; expected one of [formatters]: plain",
        ),
        ("datefmt = %H:%M", "style = #", ", line 30: style: expected one of % { $, not '#'"),
        (
            "%(message)s",
            "%(message)",
            ", line 29: [formatter_plain] has a wrong format (incomplete format); expected such as %(message)s",
        ),
        (
            "%(message)s",
            "%(colour)s",
            ", line 29: [formatter_plain] has a wrong format (Formatting field not found in record: "
            "'colour'); expected such as %(message)s",
        ),
        (
            "level = NOTSET",
            "target = mail",
            ", line 26: [handler_file] names the handler 'mail'; expected one of [handlers]: file",
        ),
        (
            "datefmt = %H:%M",
            "class = StreamHandler",
            ", line 30: [formatter_plain] names the class 'StreamHandler'; expected a Formatter that exists",
        ),
    ],
)
def test_a_mistake_is_one_sentence_with_file_line_and_what_was_expected(old, new, sentence):
    assert old in SECTIONS
    assert mistake(SECTIONS.replace(old, new)) == f"/etc/connmon.cfg{sentence}"


def test_no_sentence_shows_the_arguments_of_a_handler():
    mail = SECTIONS.replace("handlers.RotatingFileHandler", "handlers.SMTPHandler")
    assert "s3cret" not in mistake(mail.replace("('/var/log/connmon.log', 'a', 100000, 3)", "('mail', 's3cret'"))
    wrong = mail.replace("('/var/log/connmon.log', 'a', 100000, 3)", "(int('s3cret'),)")
    with pytest.raises(
        SettingError,
        match=r"^/etc/connmon\.cfg, line 24: \[handler_file\] cannot be used: ValueError; expected what handlers",
    ) as caught:
        apply_logging(configuration(wrong))
    assert "s3cret" not in str(caught.value)


def test_sections_for_which_a_module_cannot_be_loaded_are_a_wrong_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_descriptors(name: str) -> None:
        raise OSError(errno.EMFILE, "Too many open files", name)

    monkeypatch.setattr(logging_sections, "import_module", out_of_descriptors)
    with pytest.raises(SettingError, match="Too many open files"):
        check_logging(configuration(SECTIONS))
    check_logging(configuration(""))
