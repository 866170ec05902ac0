"""The part of the daemon that serves HTTP."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from logging import WARNING
from typing import TYPE_CHECKING, TypeAlias

from poolhouse.addresses import format_address
from poolhouse.configuration.service import Login
from poolhouse.daemon.acceptor import Acceptor
from poolhouse.daemon.part import Hub
from poolhouse.daemon.ports import bound_to, open_tcp_ports
from poolhouse.daemon.settings import Settings
from poolhouse.errors import SettingError
from poolhouse.feed.protocol.subscribers import Network
from poolhouse.installing import install_command

if TYPE_CHECKING:
    from poolhouse.daemon.http.face import HttpFace

#: Makes the face: `HttpFace`, which is imported if its packages are installed.
MakeFace: TypeAlias = "Callable[[Hub, Collection[str], Sequence[Network], Login | None], HttpFace]"
#: Logs a sentence; takes level and text.
Say = Callable[[int, str], object]


def open_http(
    settings: Settings,
    context: ssl.SSLContext | None,
    say: Say,
    stack: ExitStack,
    given: Sequence[socket.socket] = (),
) -> "HttpPart | None":
    """The HTTP part, whose sockets `stack` closes; ``None`` without HTTP. `given` sockets are already open.

    If its packages are missing, or the default port is taken, that is only logged.

    Raises:
        SettingError: If an explicitly requested port is unavailable.
    """
    if not settings.http and not given:
        return None
    try:
        from poolhouse.daemon.http.face import HttpFace
    except ModuleNotFoundError as error:
        missing = (error.name or "poolhouse").partition(".")[0]
        if missing == "poolhouse":
            raise
        say(WARNING, f"no HTTP: it needs {missing}: {install_command('daemon')}")
        return None
    try:
        sockets = list(given) or open_tcp_ports(settings.http, "--http", stack)
    except SettingError as error:
        if settings.is_http_asked_for:
            raise
        say(WARNING, f"no HTTP: {error}")
        return None
    return HttpPart(sockets, HttpFace, own_names(settings), settings.allow, settings.service.login, context)


def own_names(settings: Settings) -> set[str]:
    """The names by which this machine may be addressed."""
    nodes = {node.host for node in settings.service.nodes}
    return {socket.gethostname(), *nodes, *(host for host, _ in settings.http)}


class HttpPart:
    """Serves HTTP, a few milliseconds at a time."""

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        make: MakeFace,
        names: Collection[str],
        allow: Sequence[Network],
        login: Login | None,
        context: ssl.SSLContext | None,
    ) -> None:
        """Prepare.

        Args:
            sockets: Listening sockets; their owner closes them.
            make: Makes the face.
            names: This machine's names.
            allow: The networks of clients without a login, besides this machine; empty for any.
            login: The login that requests must prove; ``None`` for none.
            context: The TLS context; ``None`` without TLS.
        """
        self._sockets = sockets
        self._acceptor = Acceptor(sockets, self._connection, context)
        self._make = make
        self._names = names
        self._allow = allow
        self._login = login
        self._face: HttpFace | None = None

    @property
    def bound(self) -> list[tuple[str, int]]:
        """The addresses at which it listens."""
        return bound_to(self._sockets)

    @property
    def urls(self) -> list[str]:
        """The URLs of its page."""
        scheme = "http" if self._acceptor.context is None else "https"
        return [f"{scheme}://{format_address(*one)}" for one in self.bound]

    def set_login(self, login: Login | None) -> None:
        """Require this login of new requests."""
        self._login = login
        if self._face is not None:
            self._face.set_login(login)

    def set_context(self, context: ssl.SSLContext | None) -> None:
        """Use this context's certificate for new connections."""
        self._acceptor.context = context

    def attach(self, hub: Hub) -> None:
        """Prepare to run; connections are accepted once the part runs."""
        face = self._face = self._make(hub, self._names, self._allow, self._login)
        hub.refusals["http"] = lambda: face.refused + self._acceptor.refused

    async def run(self) -> None:
        """Accept connections, and keep the history that the page shows."""
        assert self._face is not None, "attach must be called first"
        self._acceptor.begin()
        await self._face.run()

    def detach(self) -> None:
        """Close every connection."""
        self._acceptor.close()
        if self._face is not None:
            self._face.close()

    def _connection(self) -> asyncio.BaseProtocol:
        assert self._face is not None, "attach must be called first"
        return self._face.connection()
