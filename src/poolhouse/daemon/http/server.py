"""HTTP/1.1 for the daemon's loop: uvicorn's protocol, with bounds for clients that are many, slow or silent."""

import asyncio
import logging
from collections import Counter
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from poolhouse.crowd import Crowd
from poolhouse.daemon.http.gate import App, Receive, Scope, Send

#: The key of the `HttpConnection` in a request's state.
PUSH = "poolhouse.push"
#: The most connections; another one takes the place of one of the address that has the most, or is refused.
MOST_CONNECTIONS = 256
#: The most bytes of a request's line and headers.
LARGEST_HEAD = 16 * 1024
#: Seconds from the connection to its first whole request, from a request to the end of its answer, and from there
#: to the next whole request: Prometheus asks once a minute, or more often.
FIRST_PATIENCE, ANSWER_PATIENCE, NEXT_PATIENCE = 10.0, 60.0, 90.0


class HttpServer:
    """The state shared by the connections.

    Attributes:
        connections: The open connections.
        refused: How many were closed because there were too many, or they took too long, by reason.
    """

    def __init__(self, app: App) -> None:
        """Prepare; `connection` is for an `Acceptor`."""
        self._app = app
        self.connections: Crowd[HttpConnection] = Crowd(MOST_CONNECTIONS)
        self.refused: Counter[str] = Counter()
        self.state = ServerState()
        self.config = Config(
            self._answer,
            interface="asgi3",
            lifespan="off",
            ws="none",
            http=H11Protocol,
            log_config=None,
            access_log=False,
            proxy_headers=False,
            h11_max_incomplete_event_size=LARGEST_HEAD,
            timeout_keep_alive=round(NEXT_PATIENCE),
        )
        self.config.load()

    def connection(self) -> "HttpConnection":
        """The protocol of a new connection."""
        return HttpConnection(self)

    def close(self) -> None:
        """End every connection."""
        for connection in list(self.connections):
            connection.abort()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; an error is reported to the loop, and the connection ends."""
        try:
            await self._app(scope, receive, send)
        except Exception as error:
            asyncio.get_running_loop().call_exception_handler(
                {"message": "an answer over HTTP failed", "exception": error}
            )
            raise

    def admit(self, connection: "HttpConnection") -> None:
        """Count a new connection; if there are too many, close one of the address that has the most.

        The oldest without a request under way; if all have one, the newest.
        """
        self.connections.add(connection, connection.address)
        if self.connections.is_too_large:
            self.refused["crowded"] += 1
            idle = (one for one in self.connections.of_largest() if not one.is_answering and one is not connection)
            (next(idle, None) or self.connections.newest_of_largest()).abort()


class HttpConnection(H11Protocol):
    """One connection.

    Attributes:
        address: The other side's address, without a port; empty before it is connected.
        is_answering: Whether a request is under way.
    """

    def __init__(self, server: HttpServer) -> None:
        super().__init__(server.config, server.state, {})
        # It would log anything that strangers send, in the loop; `HttpServer` counts that instead.
        self.logger = _SILENT
        self.access_log = False
        self.address = ""
        self.is_answering = False
        self._server = server
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Accept it if there is room."""
        try:
            super().connection_made(transport)
            self.address = str((transport.get_extra_info("peername") or ("",))[0])
            self._expect(FIRST_PATIENCE)
            self._server.admit(self)
        except MemoryError:  # Without a deadline it would stay open as long as its client likes.
            transport.abort()
            raise

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._server.connections.discard(self)
        self._expect(None)
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Handle received data; a whole request starts an answer."""
        super().handle_events()
        if self.has_asked:
            # The answer's task has not begun yet.
            self.cycle.scope.setdefault("state", {})[PUSH] = self
        if not self.is_answering and self.has_asked and not self.cycle.response_complete:
            self.is_answering = True
            self._expect(ANSWER_PATIENCE)

    def on_response_complete(self) -> None:
        """Finish the answer, and accept the next request."""
        self.is_answering = False
        if not self.transport.is_closing():
            self._expect(NEXT_PATIENCE)
        super().on_response_complete()

    @property
    def has_asked(self) -> bool:
        """Whether a whole request has been received."""
        return bool(self.cycle)  # None before the first request, whatever its annotation says.

    @property
    def is_ready(self) -> bool:
        """Whether the network has taken what was pushed."""
        return not self.flow.write_paused and not self.transport.is_closing()

    def push(self, data: bytes) -> None:
        """Send a part of an answer under way, as chunks; its reader has `ANSWER_PATIENCE` to take it."""
        self.transport.write(data)
        self._expect(ANSWER_PATIENCE)

    def abort(self) -> None:
        """Close the connection at once, dropping unsent data."""
        self._server.connections.discard(self)
        self._expect(None)
        self.transport.abort()

    def _expect(self, seconds: float | None) -> None:
        """Set the time limit for what comes next, in seconds; ``None`` for no limit."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self._is_late)

    def _is_late(self) -> None:
        if self.is_answering or not self.has_asked:
            self._server.refused["slow"] += 1
        self.abort()


#: Outside every logger hierarchy, so that no configuration gives it a handler.
_SILENT = logging.Logger("poolhouse.silent", logging.CRITICAL + 1)
_SILENT.addHandler(logging.NullHandler())
