"""Accepts TCP connections, even after descriptors or memory have run out.

asyncio's own server calls ``accept`` once for each connection that may wait, however often it fails, and each
failure schedules another attempt: with a backlog of 1,024, that keeps the loop busy while no descriptor is left.
It expects no MemoryError at all. And it knows no bound for connections that never finish their TLS handshake: here
the address that has the most of them loses its oldest.
"""

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from poolhouse.crowd import Crowd
from poolhouse.daemon.ports import BACKLOG
from poolhouse.shortage import is_shortage
from poolhouse.wire.introduction import GREETING_PATIENCE_S

#: Seconds until connections are accepted again after a shortage.
PAUSE_S = 1.0
#: The most connections whose TLS handshake is not over.
MOST_HANDSHAKES = 256


class Acceptor:
    """Gives each connection of several listening sockets a protocol.

    Attributes:
        context: The TLS context of future connections; ``None`` without TLS.
        refused: How many connections were closed during their handshake, by reason.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        make: Callable[[], asyncio.BaseProtocol],
        context: ssl.SSLContext | None,
    ) -> None:
        """Prepare.

        Args:
            sockets: Listening sockets; their owner closes them.
            make: Makes the protocol of a connection.
            context: The TLS context; ``None`` without TLS.
        """
        self.context = context
        self._sockets = sockets
        self._make = make
        self._is_open = True
        self.refused: Counter[str] = Counter()
        #: The connections that are being accepted. The loop itself does not keep tasks alive.
        self._tasks: Crowd[asyncio.Task[None]] = Crowd(MOST_HANDSHAKES)

    def begin(self) -> None:
        """Accept connections; a second call has no effect."""
        for sock in self._sockets:
            sock.setblocking(False)
            sock.listen(BACKLOG)
            self._watch(sock)

    def close(self) -> None:
        """Stop accepting; accepted connections stay."""
        self._is_open = False
        for sock in self._sockets:
            asyncio.get_running_loop().remove_reader(sock)

    def _watch(self, sock: socket.socket) -> None:
        if self._is_open:
            asyncio.get_running_loop().add_reader(sock, self._accept, sock)

    def _accept(self, sock: socket.socket) -> None:
        try:
            for _ in range(BACKLOG):
                self._take(*sock.accept())
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except Exception as error:
            if not is_shortage(error):
                raise
            loop = asyncio.get_running_loop()
            # In this order: if there is no memory for the timer either, the socket is still watched.
            loop.call_later(PAUSE_S, self._watch, sock)
            loop.remove_reader(sock)
            _tell(error)

    def _take(self, connection: socket.socket, address: tuple[str, int]) -> None:
        try:
            connection.setblocking(False)
            serving = self._serve(connection, self._make())
            task = asyncio.get_running_loop().create_task(serving)
            self._tasks.add(task, address[0])
            task.add_done_callback(partial(self._end, connection))
        except BaseException:
            connection.close()
            raise
        if self.context is not None and self._tasks.is_too_large:
            crowded = self._tasks.oldest_of_largest()
            self._tasks.discard(crowded)
            crowded.cancel()
            self.refused["handshakes"] += 1

    async def _serve(self, connection: socket.socket, protocol: asyncio.BaseProtocol) -> None:
        """Have the loop serve a connection; returns once the TLS handshake is done."""
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: protocol,
                connection,
                ssl=self.context,
                ssl_handshake_timeout=None if self.context is None else GREETING_PATIENCE_S,
            )
        except MemoryError as error:
            _tell(error)
        except Exception:  # A stranger does not speak TLS, or hangs up.
            self.refused["tls"] += 1

    def _end(self, connection: socket.socket, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():  # Perhaps before it had begun.
            connection.close()


def _tell(error: Exception) -> None:
    context = {"message": "no connection can be accepted", "exception": error}
    asyncio.get_running_loop().call_exception_handler(context)
