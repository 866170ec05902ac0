"""The application, the gate in front of it, and the server around both. Needs Starlette and uvicorn."""

from collections import Counter
from collections.abc import Collection, Sequence

from poolhouse.configuration.service import Login
from poolhouse.daemon.http.answers import Answers
from poolhouse.daemon.http.gate import Gate
from poolhouse.daemon.http.history import keep_history
from poolhouse.daemon.http.server import HttpConnection, HttpServer
from poolhouse.daemon.part import Hub
from poolhouse.feed.protocol.subscribers import Network


class HttpFace:
    """Everything except the sockets."""

    def __init__(self, hub: Hub, names: Collection[str], allow: Sequence[Network], login: Login | None) -> None:
        """Prepare to serve; `connection` is for an `Acceptor`. See `Gate` for the arguments."""
        self._hub = hub
        self._answers = Answers(hub)
        self._gate = Gate(self._answers.app(), names, allow, login, hub.clock)
        self._server = HttpServer(self._gate)

    @property
    def refused(self) -> Counter[str]:
        """How many connections and requests were refused, by reason."""
        return self._gate.refused + self._server.refused + Counter(views=self._answers.live.refused)

    def set_login(self, login: Login | None) -> None:
        """Require this login of new requests."""
        self._gate.login = login

    def connection(self) -> HttpConnection:
        """The protocol of a new connection."""
        return self._server.connection()

    async def run(self) -> None:
        """Keep the history of the last hour."""
        await keep_history(self._hub)

    def close(self) -> None:
        """Close every connection."""
        self._answers.is_ready = False
        self._answers.live.close()
        self._server.close()
