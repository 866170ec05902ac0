"""Sends metrics to a collector. Each push has a thread of its own, so its waits never hold up the daemon.

Source: OTLP 1.x, "OTLP/HTTP". After an answer of 429, 502, 503 or 504, or a failed or broken connection, a request
is tried again, with pauses that double or follow ``Retry-After``; every other answer is final. A push is never
kept for later: the next one contains everything that this one does.
"""

import random
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib import import_module
from threading import Event, Thread
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from poolhouse.conceal import conceal
from poolhouse.configuration.otlp import OtlpTarget
from poolhouse.errors import SettingError
from poolhouse.export.otlp import CONTENT_TYPE
from poolhouse.report.trust import system_context
from poolhouse.shortage import is_shortage, words_of

if TYPE_CHECKING:
    from http.client import HTTPConnection, HTTPResponse

#: The most bytes of one request: collectors accept 20 MiB or less.
REQUEST_BYTES = 4 << 20
#: Answers after which the same request is sent again.
_RETRIED = (429, 502, 503, 504)
#: The first pause in seconds, which doubles up to the longest.
_FIRST_PAUSE, _MOST_PAUSE = 1.0, 30.0
#: The share of a pause that is made even if the collector asks for none.
_LEAST_PART = 1 / 20
#: The most bytes of an answer that are read.
_ANSWER_BYTES = 64 << 10
#: The level that compresses most for its time, since metrics repeat themselves.
GZIP_LEVEL = 1


class Result(NamedTuple):
    """The outcome of a push."""

    #: Why it failed, in words; ``None`` if everything arrived.
    failure: str | None
    #: How many points the collector refused while it accepted the rest, and its message about them.
    rejected: int = 0
    words: str = ""

    def without(self, secrets: Sequence[str]) -> "Result":
        """The same without the secrets in a collector's words: some repeat a header that they refuse."""
        failure = None if self.failure is None else conceal(self.failure, secrets)
        return self._replace(failure=failure, words=conceal(self.words, secrets))


def prepare(target: OtlpTarget) -> ssl.SSLContext | None:
    """Prepare for pushes to a target: the modules that they need, and its TLS context; ``None`` without TLS.

    Without a target connmond starts without `http.client`, which imports `email`. Pushes find it loaded, since
    there only a log line would tell of a failure.

    Raises:
        SettingError: If a file cannot be used, or a module cannot be loaded.
    """
    try:
        for name in ("gzip", "http.client"):
            import_module(name)
    except (ImportError, OSError) as error:  # Without a free descriptor, for example.
        raise SettingError("OTEL_EXPORTER_OTLP_ENDPOINT", f"no push is possible: {words_of(error)}") from None
    if urlsplit(target.url).scheme != "https":
        return None
    setting, files = "CERTIFICATE", target.cafile or "the system's certificates"
    try:
        context = ssl.create_default_context(cafile=target.cafile) if target.cafile else system_context()
        if target.certfile is not None:
            setting = "CLIENT_CERTIFICATE"
            files = " and ".join(filter(None, (target.certfile, target.keyfile)))
            context.load_cert_chain(target.certfile, target.keyfile, password=_no_password)
    except (OSError, MemoryError, ValueError) as error:
        raise SettingError(f"OTEL_EXPORTER_OTLP_{setting}", f"{files} cannot be used: {words_of(error)}") from None
    return context


def _no_password() -> str:
    raise ValueError("the key is protected by a password")


class Push:
    """One push under way.

    Attributes:
        target: The destination.
        result: The outcome; ``None`` while the push is under way.
    """

    def __init__(
        self,
        target: OtlpTarget,
        context: ssl.SSLContext | None,
        pieces: Sequence[bytes],
        seconds: float,
        done: Callable[[], object],
    ) -> None:
        """Prepare; `start` begins the push.

        Args:
            target: The destination.
            context: The result of `prepare`.
            pieces: Parts of requests, none of which is split.
            seconds: The longest time for which to try.
            done: Called at the end, in the thread; it may raise RuntimeError if nothing listens any more.
        """
        self.target = target
        self.result: Result | None = None
        self._context = context
        self._pieces = pieces
        self._seconds = seconds
        self._done = done
        self._given_up = Event()
        self._connection: HTTPConnection | None = None
        self._thread = Thread(target=self._run, name="otlp", daemon=True)

    def start(self) -> None:
        """Start the push.

        Raises:
            RuntimeError: If the system has no more threads.
            MemoryError: If there is no memory for one.
        """
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether it is under way. If not, and there is no `result`, memory ran out before it could be stored."""
        return self._thread.is_alive()

    def give_up(self) -> None:
        """End as soon as possible, even in the middle of an answer that never ends."""
        self._given_up.set()
        connection = self._connection
        if connection is not None and (sock := connection.sock) is not None:
            with suppress(OSError):
                sock.shutdown(2)

    def _run(self) -> None:
        with suppress(MemoryError):  # `is_running` shows it.
            try:
                result = self._send_all()
            except Exception as error:
                is_known = is_shortage(error)
                result = Result(words_of(error) if is_known else f"{type(error).__name__}: {error}")
            self._close()
            self.result = result.without(self.target.secrets)
            with suppress(RuntimeError):  # The loop has ended in the meantime.
                self._done()

    def _send_all(self) -> Result:
        import gzip  # Here and below: see `prepare`.

        deadline = monotonic() + self._seconds
        rejected, words = 0, ""
        for body in requests(self._pieces):
            result = self._send(gzip.compress(body, GZIP_LEVEL) if self.target.is_gzip else body, deadline)
            if result.failure is not None:
                return result
            rejected, words = rejected + result.rejected, result.words or words
        return Result(None, rejected, words)

    def _send(self, body: bytes, deadline: float) -> Result:
        """Send one request until it is accepted, finally refused, or out of time."""
        from http.client import HTTPException

        pause = _FIRST_PAUSE
        while True:
            asked_pause = None
            try:
                answer, content = self._ask(body)
                failure = _failure(answer)
                if failure is None:
                    return Result(None, *partial_success(content))
                if answer.status not in _RETRIED:
                    return Result(failure)
                asked_pause = _retry_after(answer)
            except (OSError, HTTPException) as error:
                failure = _words(error)
            self._close()  # The collector may close the connection during the pause.
            # Jitter, so that daemons that start together do not retry together.
            wait = pause * (0.5 + random.random() / 2)
            if asked_pause is not None:
                wait = max(asked_pause, pause * _LEAST_PART)
            if self._given_up.is_set() or monotonic() + wait >= deadline:
                return Result(failure)
            self._given_up.wait(wait)
            pause = min(2 * pause, _MOST_PAUSE)

    def _ask(self, body: bytes) -> tuple["HTTPResponse", bytes]:
        """The answer and its content."""
        parts = urlsplit(self.target.url)
        if self._connection is None:
            self._connection = self._connect(parts.hostname or "", parts.port)
        headers = {"Content-Type": CONTENT_TYPE, "User-Agent": "poolhouse-connmond", **dict(self.target.headers)}
        if self.target.is_gzip:
            headers["Content-Encoding"] = "gzip"
        self._connection.request("POST", parts.path or "/", body, headers)
        answer = self._connection.getresponse()
        content = answer.read(_ANSWER_BYTES)
        if not answer.isclosed():
            self._close()
        return answer, content

    def _connect(self, host: str, port: int | None) -> "HTTPConnection":
        from http.client import HTTPConnection, HTTPSConnection

        if self._context is None:
            return HTTPConnection(host, port, timeout=self.target.timeout)
        return HTTPSConnection(host, port, timeout=self.target.timeout, context=self._context)

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(OSError):
                connection.close()


def requests(pieces: Sequence[bytes], most: int = REQUEST_BYTES) -> Iterator[bytes]:
    """The pieces joined into requests of at most this many bytes, unless a single piece is larger.

    >>> list(requests([b"ab", b"cd", b"efg"], most=4))
    [b'abcd', b'efg']
    """
    body: list[bytes] = []
    size = 0
    for piece in pieces:
        if size + len(piece) > most and body:
            yield b"".join(body)
            body, size = [], 0
        body.append(piece)
        size += len(piece)
    if body:
        yield b"".join(body)


def partial_success(content: bytes) -> tuple[int, str]:
    r"""How many points a collector refused, and its message, from an ExportMetricsServiceResponse.

    >>> partial_success(b""), partial_success(b"\x0a\x07\x08\x03\x12\x03old")
    ((0, ''), (3, 'old'))
    """
    rejected, words = 0, ""
    with suppress(ValueError, IndexError):  # Whatever else a collector answers, it has accepted the push.
        for field, value in _fields(content):
            if field == 1 and isinstance(value, bytes):
                for inner, found in _fields(value):
                    if inner == 1 and isinstance(found, int):
                        rejected = found
                    elif inner == 2 and isinstance(found, bytes):
                        words = found.decode("utf-8", "replace")
    return rejected, words


def _fields(content: bytes) -> list[tuple[int, int | bytes]]:
    """The fields of a message that contains only varints and length-delimited values.

    Raises:
        ValueError: If it is something else.
        IndexError: If it is cut off.
    """
    fields: list[tuple[int, int | bytes]] = []
    at = 0
    while at < len(content):
        key, at = _varint(content, at)
        number, at = _varint(content, at)
        if key & 7 == 0:
            fields.append((key >> 3, number))
        elif key & 7 == 2 and number <= len(content) - at:
            fields.append((key >> 3, content[at : at + number]))
            at += number
        else:
            raise ValueError("no message")
    return fields


def _varint(content: bytes, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 64, 7):
        byte = content[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
    raise ValueError("a number beyond 64 bits")


def _failure(answer: "HTTPResponse") -> str | None:
    """Why an answer means failure; ``None`` if the collector accepted the push."""
    if 200 <= answer.status < 300:
        kind = (answer.getheader("Content-Type") or "").partition(";")[0].strip().lower()
        return "it answered with a web page: is that a collector?" if kind == "text/html" else None
    place = answer.getheader("Location") if 300 <= answer.status < 400 else None
    return f"it answered with status {answer.status}" + (f", for {place}" if place else "")


def _retry_after(answer: "HTTPResponse") -> float | None:
    """The seconds in ``Retry-After``; a date, which is also allowed, is ignored."""
    text = (answer.getheader("Retry-After") or "").strip()
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else None


def _words(error: Exception) -> str:
    from http.client import BadStatusLine

    if isinstance(error, BadStatusLine) and not isinstance(error, OSError):
        return f"its answer is not HTTP: {str(error).strip()}"
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
