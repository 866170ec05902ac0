"""What the programs of tests/causes share: arguments, a start at a word, clients, and telling of symptoms.

A program is run with the URL of its database and, in the version without its fault, the word "mended".
"""

import asyncio
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from typing import Any

DATABASE = "".join(sys.argv[1:2])
MENDED = "mended" in sys.argv[2:]

#: Seconds that a program works well before its fault sets in, if it has a time before.
CALM = 8.0
#: Seconds after which a client says that it was slow.
PATIENCE = 1.0

#: Set by `begin`.
_begun = threading.Event()
_begun_at = 0.0
_told_at = 0.0


def url(driver: str = "psycopg") -> str:
    """The database's URL for SQLAlchemy, with the plugin; where to report to is in the environment."""
    scheme, _, rest = DATABASE.partition("://")
    return f"{scheme}+{driver}://{rest}?plugin=collectd"


def begin() -> None:
    """Say that all is loaded, and wait for the word to start: loading takes processor time, which others need."""
    global _begun_at
    for name in ("instrumentation.plugin", "pool.sync", "pool.aio", "report.reporter"):
        import_module(f"poolhouse.{name}")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    say(ready=True)
    sys.stdin.readline()
    _begun_at = time.monotonic()
    _begun.set()


def is_calm() -> bool:
    """Whether this is the time before the fault; always in the version without it."""
    return MENDED or time.monotonic() - _begun_at < CALM


def say(**told: Any) -> None:
    """Tell the test something, as a line of JSON."""
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


def symptom(what: str, error: BaseException | None = None) -> None:
    """What a person would notice, with the present time; at most two a second are told."""
    global _told_at
    now = time.monotonic()
    if now - _told_at < 0.5:
        return
    _told_at = now
    notes = [] if error is None else [str(error), *getattr(error, "__notes__", [])]
    say(symptom=now, what=what, text="\n".join(notes))


def serve(
    clients: int,
    handle: Callable[[], Any],
    think: float,
    patience: float = PATIENCE,
    *,
    together: bool = False,
) -> None:
    """So many threads that have `handle` work for them and think, for ever. The last of them is this one.

    Args:
        clients: How many.
        handle: What may fail: that is a symptom, and so is more time than `patience`.
        think: Seconds between two calls.
        patience: Seconds.
        together: Whether they come all at once.
    """
    for number in range(clients - 1):
        arguments = (handle, think, patience, 0.0 if together else number / clients)
        threading.Thread(target=_client, args=arguments, daemon=True).start()
    _client(handle, think, patience, 0.0 if together else 1 - 1 / clients)


def _client(handle: Callable[[], Any], think: float, patience: float, first: float) -> None:
    time.sleep(first * think)
    while True:
        begun = time.monotonic()
        try:
            handle()
        except Exception as error:
            symptom(type(error).__name__, error)
        else:
            if time.monotonic() - begun > patience:
                symptom("slow")
        time.sleep(think)


async def serve_async(
    clients: int, handle: Callable[[], Awaitable[Any]], think: float, *, together: bool = False
) -> None:
    """The same with tasks."""
    firsts = [0.0 if together else number / clients for number in range(clients)]
    await asyncio.gather(*(_async_client(handle, think, first) for first in firsts))


async def _async_client(handle: Callable[[], Awaitable[Any]], think: float, first: float) -> None:
    await asyncio.sleep(first * think)
    while True:
        begun = time.monotonic()
        try:
            await handle()
        except Exception as error:
            symptom(type(error).__name__, error)
        else:
            if time.monotonic() - begun > PATIENCE:
                symptom("slow")
        await asyncio.sleep(think)


def throttle(stopped: float, runs: float) -> None:
    """From now on this process is stopped again and again, by a child, and ends with it.

    Args:
        stopped: For so many seconds.
        runs: How long it runs in between.
    """
    parent = os.getpid()
    if os.fork():
        return
    while os.getppid() == parent:
        os.kill(parent, signal.SIGSTOP)
        time.sleep(stopped)
        os.kill(parent, signal.SIGCONT)
        time.sleep(runs)
    os._exit(0)


def start_service(delay: Callable[[], float]) -> int:
    """Another service, over HTTP; its port.

    Args:
        delay: The seconds that its next answer takes.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(delay())
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_request(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port
