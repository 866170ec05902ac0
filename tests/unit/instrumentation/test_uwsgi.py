"""What uWSGI is said to need."""

import logging
import sys
import types
from typing import Any

import pytest

from poolhouse.instrumentation import uwsgi


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"enable-threads": True, "lazy-apps": True, "master": True}, []),
        ({"threads": b"2", "py-call-uwsgi-fork-hooks": True, "processes": b"2"}, []),
        ({b"enable-threads": True}, []),
        ({"enable-threads": True, "master": True}, ["--lazy-apps", "--py-call-uwsgi-fork-hooks"]),
        ({"lazy-apps": True, "processes": b"2"}, ["--enable-threads"]),
        ({"processes": b"2"}, ["--enable-threads", "--lazy-apps"]),
    ],
)
def test_what_is_missing_is_named(options: dict[Any, Any], named: list[str]) -> None:
    told = uwsgi.advice(options)
    assert [word.strip(":") for word in (told or "").split() if word.startswith("--")] == named


@pytest.mark.parametrize("options", [{"processes": b"2"}, None, object()])
def test_it_is_said_once_and_only_within_uwsgi(
    options: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(uwsgi, "_told", [])
    monkeypatch.setitem(sys.modules, "uwsgi", types.SimpleNamespace(opt=options))  # type: ignore[arg-type]
    with caplog.at_level(logging.DEBUG):
        uwsgi.warn_once()
        uwsgi.warn_once()
    expected = ["WARNING"] if isinstance(options, dict) else []
    assert [record.levelname for record in caplog.records] == expected
