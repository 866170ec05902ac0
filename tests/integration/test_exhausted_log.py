"""Descriptors, threads or memory are exhausted while connmond logs."""

import asyncio
import logging
import os
import sys
import threading
from contextlib import suppress
from logging import INFO, LogRecord
from typing import Any

import pytest

from poolhouse.daemon.log import Log
from poolhouse.daemon.settings import Settings
from support.exhausted import EXHAUSTED, OF_MEMORY, OF_THREADS, Exhausted, words


def records(log: Log) -> list[LogRecord]:
    """The lines that wait for the thread of a log that has none."""
    waiting: Any = [log._queue.get_nowait() for _ in range(log._queue.qsize())]
    return [write.args[0] for write in waiting]


@pytest.mark.parametrize("error", EXHAUSTED.values(), ids=EXHAUSTED)
def test_what_a_shortage_keeps_the_loop_from_doing_is_one_sentence_without_a_traceback(error):
    log, loop = Log(), asyncio.new_event_loop()
    for _ in range(3):
        log._handle_exception(loop, {"message": "a part of connmond failed", "exception": error})
    loop.close()
    (record,) = records(log)
    hint = "; see LimitNOFILE" if error is EXHAUSTED["EMFILE"] else ""
    assert record.getMessage() == f"a part of connmond failed: {words(error)}{hint}"
    assert record.name == "connmon.daemon"
    assert record.exc_info is None


def test_a_bug_in_the_loop_keeps_its_traceback():
    log, loop = Log(), asyncio.new_event_loop()
    log._handle_exception(loop, {"message": "a part of connmond failed", "exception": KeyError("a bug")})
    loop.close()
    (record,) = records(log)
    assert record.exc_info is not None


def begin(log: Log, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin in a loop of its own, and leave the loggers of this process as they are."""
    monkeypatch.setattr(log, "_apply", lambda _: None)

    async def scenario() -> None:
        log.begin(settings)

    asyncio.run(scenario())


@pytest.mark.parametrize("error", [*OF_THREADS.values(), *OF_MEMORY.values()], ids=[*OF_THREADS, *OF_MEMORY])
def test_lines_wait_until_a_thread_can_be_started(monkeypatch, error):
    log, written = Log(), []
    monkeypatch.setattr("poolhouse.daemon.log._handle", lambda record: written.append(record.getMessage()))
    with Exhausted(threading.Thread, "start", error) as exhausted:
        begin(log, Settings(), monkeypatch)
        log(INFO, "the first")
        log(INFO, "the second")
    assert exhausted.calls == 3
    assert written == []
    log(INFO, "the third")
    log.end("the last")
    assert written == ["the first", "the second", "the third"]


def test_the_lines_of_a_log_that_never_had_a_thread_are_written_at_its_end(monkeypatch, capsys):
    log, written = Log(), []
    monkeypatch.setattr("poolhouse.daemon.log._handle", lambda record: written.append(record.getMessage()))
    with Exhausted(threading.Thread, "start", *OF_THREADS.values()):
        begin(log, Settings(), monkeypatch)
        log(INFO, "the first")
        log.end("the last")
    assert written == ["the first"]
    assert capsys.readouterr().out == "the last\n"


def test_a_reader_that_has_stopped_holds_up_no_end_of_a_log_that_never_had_a_thread(monkeypatch):
    log, written = Log(), []
    monkeypatch.setattr("poolhouse.daemon.log.END_PATIENCE", 0.01)
    monkeypatch.setattr("poolhouse.daemon.log._handle", lambda record: written.append(record.getMessage()))
    unregistered: list[object] = []
    monkeypatch.setattr("atexit.unregister", unregistered.append)
    reader, writer = os.pipe()
    with os.fdopen(reader), os.fdopen(writer, "w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        fill(writer)
        with Exhausted(threading.Thread, "start", *OF_THREADS.values()):
            begin(log, Settings(), monkeypatch)
            log(INFO, "the first")
            log.end("the last")  # It would wait for the reader, and so until the test is ended.
    assert written == ["the first"]
    assert unregistered == [logging.shutdown]


def fill(pipe: int) -> None:
    """Write until a pipe takes no more."""
    os.set_blocking(pipe, False)
    with suppress(BlockingIOError):
        while True:
            os.write(pipe, bytes(1 << 16))
    os.set_blocking(pipe, True)
