"""The daemon's log: lines on standard error, as text or JSON, or wherever the configuration sends them.

A separate thread writes it: a slow reader, a full disk or a handler that raises delays neither reports nor
consoles, nor the end of the process.
"""

import asyncio
import atexit
import errno
import logging
import queue
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from logging import ERROR, INFO, WARNING
from threading import Thread
from typing import Any

from poolhouse.clean import clean
from poolhouse.daemon.log_format import LONGEST_MESSAGE, JsonFormatter, TextFormatter
from poolhouse.daemon.logging_sections import apply_logging
from poolhouse.daemon.settings import Settings
from poolhouse.errors import SettingError
from poolhouse.shortage import is_shortage, words_of
from poolhouse.stdio import say

#: The daemon's logger. Configurations of old releases name its parent: ``qualname=connmon``.
LOGGER = "connmon.daemon"
#: Lines that may wait to be written; further ones are dropped and counted.
MOST_WAITING = 1000
#: Seconds in which the same failure makes one line, and how many different failures are remembered.
FAILURE_PERIOD_S, MOST_FAILURES = 60.0, 100
#: Seconds that the daemon waits at its end for lines that are not written yet.
END_PATIENCE = 1.0


class StderrHandler(logging.Handler):
    """Writes to standard error, which may be closed, full, or without a reader."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line if possible."""
        say(self.format(record), sys.stderr)


class Log:
    """The log of this process, from `begin` to `end`; calling it logs a sentence."""

    def __init__(self) -> None:
        self._queue: queue.Queue[Callable[[], object] | None] = queue.Queue(MOST_WAITING)
        self._thread = Thread(target=self._run, name="log", daemon=True)
        #: Whether the thread is wanted, and whether it has been started.
        self._begun = self._started = False
        self._is_json = False
        self._has_sections = False
        self._dropped = 0
        #: When each failure in the loop was last logged, by its text, and how often it has occurred since.
        self._failures: dict[str, tuple[float, int]] = {}

    def __call__(self, level: int, sentence: str) -> None:
        """Log a sentence; never waits, never raises."""
        self._later(partial(_handle, _record(LOGGER, level, sentence)))

    def begin(self, settings: Settings) -> None:
        """Log as the settings demand.

        Raises:
            SettingError: If a handler of the configuration cannot be made.
        """
        self._apply(settings)
        asyncio.get_running_loop().set_exception_handler(self._handle_exception)
        self._begun = True
        self._start()

    def change(self, settings: Settings, before: Settings) -> None:
        """Log as other settings demand from now on; log files are opened again.

        Args:
            settings: The new settings.
            before: The settings that apply again, with a line in the log, if a handler of the new ones cannot be
                made.
        """
        self._later(partial(self._change, settings, before))

    def _change(self, settings: Settings, before: Settings) -> None:
        try:
            self._apply(settings)
        except SettingError as error:
            with suppress(SettingError):
                self._apply(before)
            _handle(_record(LOGGER, ERROR, f"{error}; connmond logs as it did"))

    def _apply(self, settings: Settings) -> None:
        logging.raiseExceptions = False  # A handler whose disk is full must not fill the standard error.
        _reset()
        self._is_json = settings.log_format == "json"
        self._has_sections = settings.log_format is None
        if self._has_sections:
            apply_logging(settings.configuration)
            return
        handler = StderrHandler()
        handler.setFormatter(JsonFormatter() if self._is_json else TextFormatter())
        logging.getLogger().addHandler(handler)
        logging.getLogger(LOGGER).setLevel(INFO)

    def announce(self, text: str) -> None:
        """Print lines on standard output, as JSON if the log is; also into a log of the configuration."""
        if (lost := say(self._announced(text), sys.stdout)) is not None and sys.stdout is not None:
            self(WARNING, f"cannot write to the standard output ({lost.strerror}); connmond keeps running")
        if self._has_sections:
            self(INFO, "; ".join(line.strip() for line in text.splitlines()))

    def end(self, last_words: str) -> None:
        """Print the last words on standard output once all lines are written, and log no more."""
        if self._has_sections:
            self(INFO, last_words)
        self._later(partial(say, self._announced(last_words), sys.stdout))
        if not self._started:
            self._write_here()
            return
        try:
            self._queue.put(None, timeout=END_PATIENCE)
        except queue.Full:
            pass
        else:
            self._thread.join(END_PATIENCE)
        if self._thread.is_alive():
            # The thread holds the lock of a handler whose write never returns; the interpreter would wait for it
            # at exit.
            atexit.unregister(logging.shutdown)

    def _announced(self, text: str) -> str:
        if not self._is_json:
            return text
        return JsonFormatter().format(logging.LogRecord(LOGGER, INFO, "", 0, text, None, None))

    def _later(self, write: Callable[[], object]) -> None:
        try:
            self._queue.put_nowait(write)
        except queue.Full:
            self._dropped += 1
        if self._begun and not self._started:
            self._start()

    def _start(self) -> None:
        """Start the thread; if the system has none to give, the lines wait, and the next line tries again."""
        with suppress(RuntimeError, MemoryError):
            self._thread.start()
            self._started = True

    def _write_here(self) -> None:
        """Write waiting lines at the end of a process that never had a thread for them.

        A timer interrupts a write that does not return, so that the process ends all the same.
        """
        before = signal.signal(signal.SIGALRM, _end_patience)
        try:
            try:
                signal.setitimer(signal.ITIMER_REAL, END_PATIENCE)
                with suppress(queue.Empty):
                    while (write := self._queue.get_nowait()) is not None:
                        write()
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except _PatienceIsOver:
            atexit.unregister(logging.shutdown)  # It would flush the handler whose write does not return.
        signal.signal(signal.SIGALRM, before)

    def _run(self) -> None:
        told = 0
        while (write := self._queue.get()) is not None:
            if (dropped := self._dropped) > told:
                sentence = f"{dropped - told:,} lines of the log were dropped: its reader is too slow"
                _handle(_record(LOGGER, WARNING, sentence))
                told = dropped
            write()

    def _handle_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log a failure in the loop, the same one at most once a minute: some recur every second."""
        error = context.get("exception")
        if error is not None and is_shortage(error):
            context, error = {"message": _of_shortage(f"{context.get('message')}", error)}, None
        words = f"{context.get('message')}" if error is None else f"{context.get('message')} ({error!r})"
        now = loop.time()
        said_at, others = self._failures.get(words, (-FAILURE_PERIOD_S, 0))
        if now - said_at < FAILURE_PERIOD_S:
            self._failures[words] = said_at, others + 1
            return
        if len(self._failures) >= MOST_FAILURES:
            self._failures.clear()
        self._failures[words] = now, 0
        sentence = f"{context.get('message')}" + (
            f" ({others:,} times more since the last line)" if others else ""
        )
        self._later(partial(_handle, _record(LOGGER if error is None else "asyncio", ERROR, sentence, error)))


class _PatienceIsOver(BaseException):
    """No Exception: `_handle` and handlers of the configuration suppress those."""


def _end_patience(*_: object) -> None:
    raise _PatienceIsOver


def _of_shortage(message: str, error: BaseException) -> str:
    """What failed for lack of descriptors, threads or memory; the place in the code would say nothing more."""
    hint = "; see LimitNOFILE" if isinstance(error, OSError) and error.errno == errno.EMFILE else ""
    return f"{message}: {words_of(error)}{hint}"


def complain(sentence: str, log_format: str | None = None) -> None:
    """Print on standard error why connmond does not start; never raises."""
    sentence = clean(sentence, LONGEST_MESSAGE)
    if log_format == "json":
        say(JsonFormatter().format(_record(LOGGER, ERROR, sentence)), sys.stderr)
    else:
        say(f"connmond: {sentence}", sys.stderr)


def _record(name: str, level: int, sentence: str, error: BaseException | None = None) -> logging.LogRecord:
    about = None if error is None else (type(error), error, error.__traceback__)
    # No arguments, so that a percent sign in the sentence stays one.
    return logging.LogRecord(name, level, "", 0, clean(sentence, LONGEST_MESSAGE), None, about)


def _handle(record: logging.LogRecord) -> None:
    """Pass a record to the handlers of its logger; an exception in them is ignored."""
    with suppress(Exception):
        logger = logging.getLogger(record.name)
        if logger.isEnabledFor(record.levelno):
            logger.handle(record)


def _reset() -> None:
    """Remove what an earlier configuration has set."""
    for logger in (logging.getLogger(), *logging.Logger.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            for handler in list(logger.handlers):
                logger.removeHandler(handler)
                with suppress(Exception):  # A file on a full disk cannot be flushed.
                    handler.close()
            logger.setLevel(logging.WARNING if logger.parent is None else logging.NOTSET)
            logger.propagate = True
