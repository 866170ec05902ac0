"""A record of the log as one line."""

import json
import logging
import re
import sys

from poolhouse.daemon.log_format import JsonFormatter, TextFormatter


def record(message: str, *arguments: object, error: bool = False) -> logging.LogRecord:
    return logging.LogRecord(
        "connmon.daemon", logging.WARNING, "", 0, message, arguments or None, sys.exc_info() if error else None
    )


def test_a_line_of_text_has_time_level_and_message():
    line = TextFormatter().format(record("100% of web1\x1b[2J\nis full"))
    assert re.fullmatch(
        r"\d{4}(-\d\d){2}T\d\d:\d\d:\d\d[+-]\d\d:\d\d WARNING connmond: 100% of web1·\[2J·is full", line
    )


def test_a_line_of_json_has_time_level_logger_and_message():
    line = JsonFormatter().format(record("Größe:\n%s", 7))
    assert line.isascii()
    assert "\n" not in line
    fields = json.loads(line)
    assert re.fullmatch(r"\d{4}(-\d\d){2}T\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d", fields.pop("time"))
    assert fields == {"level": "warning", "logger": "connmon.daemon", "message": "Größe:\n7"}


def test_a_traceback_is_in_the_same_line():
    try:
        raise ValueError("two\nlines")
    except ValueError:
        one = record("a part of connmond failed", error=True)
    text = TextFormatter().format(one)
    assert "\n" not in text
    assert text.endswith(" | ValueError: two | lines")
    assert json.loads(JsonFormatter().format(one))["exception"].endswith("ValueError: two\nlines")


def test_a_message_that_does_not_fit_its_arguments_is_logged_all_the_same():
    assert (
        TextFormatter()
        .format(record("%d of them", "x"))
        .endswith("connmond: %d of them (TypeError in its arguments)")
    )
