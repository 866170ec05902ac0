"""Collectors that answer what no collector should: each push ends, and says why."""

import socket
import ssl
import threading
from contextlib import closing, suppress
from pathlib import Path

import pytest

from poolhouse.configuration.otlp import OtlpTarget
from poolhouse.daemon.otlp_sender import Push, Result, prepare
from support.collector import collector
from support.waiting import wait_until

CERTIFICATES = Path(__file__).parents[1] / "support" / "certificates"
TAKEN = Result(None)
OK = b"HTTP/1.1 200 OK\r\n"
#: Seconds for which a push is tried, where it is tried again.
TRYING = 2.0


class Liar:
    """Answers every request with the same bytes.

    Attributes:
        asked: How many requests there were.
    """

    def __init__(self, answer: bytes, *, keeps: bool) -> None:
        """Listen; `keeps` says whether a connection is good for further requests."""
        self.asked = 0
        self._answer, self._keeps = answer, keeps
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1/metrics"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):  # Closed.
            while True:
                threading.Thread(target=self._serve, args=self._socket.accept()[:1], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection, connection.makefile("rb") as lines:
            while lines.readline():
                size = 0
                while (line := lines.readline()) not in (b"\r\n", b""):
                    if line.lower().startswith(b"content-length:"):
                        size = int(line.partition(b":")[2])
                lines.read(size)
                self.asked += 1
                connection.sendall(self._answer)
                if not self._keeps:
                    return

    def close(self) -> None:
        self._socket.close()


def pushed(answer: bytes, seconds: float = TRYING, *, keeps: bool = False) -> tuple[Result, int]:
    """How a push ends, and how often it was tried."""
    with closing(Liar(answer, keeps=keeps)) as liar:
        push = Push(OtlpTarget(liar.url), None, [b"metrics"], seconds, lambda: None)
        push.start()
        return wait_until(lambda: push.result, 60.0), liar.asked


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Content-Length: 5\r\n\r\n\xff\xff\xff\xff\xff",
        OK + b"Content-Length: 500\r\n\r\nan answer that breaks off",
        OK + b"Content-Length: -5\r\n\r\nabc",
        OK + b"Content-Length: 2000000\r\n\r\n" + bytes(2_000_000),
        OK + b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ],
    ids=["garbage", "broken off", "negative", "endless", "another type", "no content"],
)
def test_a_push_is_taken_whatever_else_a_success_says(answer: bytes) -> None:
    assert pushed(answer) == (TAKEN, 1)


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (
            OK + b"Content-Type: text/html; charset=utf-8\r\nContent-Length: 6\r\n\r\n<html>",
            "it answered with a web page: is that a collector?",
        ),
        (
            b"HTTP/1.1 307 Moved\r\nLocation: https://collector/v1/metrics\r\nContent-Length: 0\r\n\r\n",
            "it answered with status 307, for https://collector/v1/metrics",
        ),
        (b"HTTP/1.1 404 Nothing\r\nContent-Length: 0\r\n\r\n", "it answered with status 404"),
        # Longer than anybody waits.
        (b"HTTP/1.1 429 Busy\r\nRetry-After: 99999\r\nContent-Length: 0\r\n\r\n", "it answered with status 429"),
    ],
    ids=["page", "redirect", "not found", "busy for long"],
)
def test_what_no_second_try_would_mend_is_tried_once(answer: bytes, failure: str) -> None:
    assert pushed(answer) == (Result(failure), 1)


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (b"", "Remote end closed connection without response"),
        (b"SSH-2.0-server\r\n", "its answer is not HTTP: SSH-2.0-server"),
        (b"HTTP/1.1 99999 Strange\r\n\r\n", "its answer is not HTTP: HTTP/1.1 99999 Strange"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc", "IncompleteRead(0 bytes read)"),
        (OK + b"X: " + b"a" * 70_000 + b"\r\n\r\n", "got more than 65536 bytes when reading header line"),
        (OK + b"X: a\r\n" * 2000 + b"\r\n", "got more than 100 headers"),
        # The connection is gone at the next try; the reason is still the collector's.
        (b"HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n", "it answered with status 503"),
        (b"HTTP/1.1 429 Busy\r\nRetry-After: soon\r\nContent-Length: 0\r\n\r\n", "it answered with status 429"),
    ],
    ids=["nothing", "not HTTP", "status", "chunks", "long header", "many headers", "down", "no number"],
)
def test_what_may_pass_is_tried_again_until_time_is_up(answer: bytes, failure: str) -> None:
    result, asked = pushed(answer)
    assert (result, asked > 1) == (Result(failure), True)


@pytest.mark.parametrize("keeps", [True, False])
def test_a_collector_that_is_always_busy_and_asks_for_no_pause_is_not_asked_without_end(keeps: bool) -> None:
    result, asked = pushed(b"HTTP/1.1 429 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n", keeps=keeps)
    assert result == Result("it answered with status 429")
    # Pauses of 0.05, 0.1, 0.2, 0.4 and 0.8 s; the next would end after two seconds.
    assert 1 < asked <= 6


def test_wrong_tls_is_a_failure_that_says_so() -> None:
    def pushed_to(url: str, cafile: str | None = None) -> str | None:
        target = OtlpTarget(url, cafile=cafile)
        push = Push(target, prepare(target), [b""], TRYING, lambda: None)
        push.start()
        return wait_until(lambda: push.result, 60.0).failure

    mine = str(CERTIFICATES / "node.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(mine, CERTIFICATES / "node.key")
    with collector(context) as taken:
        assert "certificate verify failed" in (pushed_to(taken.url) or "")
        assert pushed_to(taken.url.replace("https", "http")) is not None
        assert pushed_to(taken.url, mine) is None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(mine, CERTIFICATES / "node.key")
    context.load_verify_locations(mine)
    context.verify_mode = ssl.CERT_REQUIRED
    with collector(context) as taken:
        assert pushed_to(taken.url, mine) is not None
    with collector() as taken:
        assert "WRONG_VERSION_NUMBER" in (pushed_to(taken.url.replace("http", "https")) or "")
