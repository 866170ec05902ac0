"""Decides which HTTP requests are answered, and adds headers to every answer: plain ASGI, around the application.

- The ``Host`` header must name this machine, so that a web page whose name was redirected here can read nothing
  (DNS rebinding). The name of such a page contains a dot; addresses and short names are accepted.
- The client must be in one of the networks of ``--allow``, if there are any, or prove the login.
- With a login, every request must prove it (HTTP Basic), except those for `OPEN_PATHS`.
"""

import base64
import binascii
import hmac
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, MutableMapping, Sequence
from ipaddress import ip_address
from typing import Any

from poolhouse.addresses import is_loopback
from poolhouse.clock import Clock
from poolhouse.configuration.service import Login
from poolhouse.daemon.reception import FAILURES_PERIOD_S, Failures
from poolhouse.feed.protocol.connections import Connections
from poolhouse.feed.protocol.subscribers import Network

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Header = tuple[bytes, bytes]

#: Paths that reveal nothing about the fleet; supervisors request them without a login.
OPEN_PATHS = ("/healthz", "/readyz")

#: Nothing is loaded from elsewhere, framed, or cached, unless an answer says otherwise for itself.
HEADERS: tuple[Header, ...] = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        b"base-uri 'none'; frame-ancestors 'none'; form-action 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
_CHALLENGE: Header = (b"www-authenticate", b'Basic realm="poolhouse", charset="UTF-8"')


class Refusal(Exception):
    """A request that is refused, with status, a word for the counters, sentence and headers."""

    def __init__(self, status: int, reason: str, sentence: str, *headers: Header) -> None:
        super().__init__(status, reason, sentence, *headers)
        self.status = status
        self.reason = reason
        self.sentence = sentence
        self.headers = headers


class Gate:
    """Lets permitted requests through to an application.

    Attributes:
        login: The login that requests must prove; ``None`` for none.
        refused: How many requests were refused, by reason.
    """

    def __init__(
        self, app: App, names: Collection[str], allow: Sequence[Network], login: Login | None, clock: Clock
    ) -> None:
        """Prepare.

        Args:
            app: The application.
            names: This machine's names, besides ``localhost``, its addresses and names without a dot.
            allow: The networks of clients without a login, besides this machine; empty for any.
            login: The login that requests must prove; ``None`` for none.
            clock: The source of time.
        """
        self.login = login
        self.refused: Counter[str] = Counter()
        self._app = app
        self._names = {name.lower().rstrip(".") for name in names}
        self._allow = Connections(allow)
        self._clock = clock
        self._failures = Failures()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or refuse one request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = list(message.get("headers", ()))
                named = {name for name, _ in own}
                message["headers"] = [*own, *(header for header in HEADERS if header[0] not in named)]
            await send(message)

        try:
            self.check(scope)
        except Refusal as refusal:
            self.refused[refusal.reason] += 1
            await _refuse(refusal, send_with_headers)
        else:
            await self._app(scope, receive, send_with_headers)

    def check(self, scope: Scope) -> None:
        """Check whether a request is permitted.

        Raises:
            Refusal: If it is not.
        """
        headers: list[Header] = scope["headers"]
        if scope["method"] not in ("GET", "HEAD"):
            raise Refusal(405, "method", "Only GET and HEAD are answered here.", (b"allow", b"GET, HEAD"))
        if not is_own_name(_one(headers, b"host") or "", self._names):
            sentence = "The header Host names another machine; ask for an address, or for a node's name."
            raise Refusal(421, "host", sentence)
        if scope["path"] in OPEN_PATHS:
            return
        client = scope.get("client")
        address = client[0] if client else ""
        has_login = self._is_proven(_one(headers, b"authorization"), address)
        if (reason := self._allow.refusal(address, has_login)) is not None:
            raise Refusal(403, "address", f"Not for this address: {reason}.")

    def _is_proven(self, authorization: str | None, address: str) -> bool:
        """Whether the login was proved; ``False`` if none is required."""
        if self.login is None:
            return False
        now = self._clock.monotonic()
        if self._failures.is_barred(address, now):
            raise Refusal(
                429,
                "login",
                "Too many wrong logins from this address; try again in a minute.",
                (b"retry-after", str(round(FAILURES_PERIOD_S)).encode()),
            )
        if authorization is None:
            raise Refusal(401, "login", "User and password are needed.", _CHALLENGE)
        if not is_login(authorization, self.login):
            self._failures.note(address, now)
            raise Refusal(401, "login", "Wrong user or password.", _CHALLENGE)
        return True


def is_login(authorization: str, login: Login) -> bool:
    """Whether an ``Authorization`` header proves a login; takes equally long for every wrong one.

    >>> header = "Basic " + base64.b64encode("monitor:pässword".encode()).decode()
    >>> is_login(header, Login("monitor", "pässword")), is_login(header, Login("monitor", "password"))
    (True, False)
    """
    scheme, _, content = authorization.partition(" ")
    if scheme.lower() != "basic":
        return False
    try:
        given = base64.b64decode(content.strip(), validate=True)
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(given, f"{login.user}:{login.password}".encode())


def is_own_name(host: str, names: Collection[str]) -> bool:
    """Whether a ``Host`` header may mean this machine.

    >>> names = {"web1.example.org"}
    >>> [is_own_name(host, names) for host in ("localhost:25829", "10.0.0.5", "[::1]:80", "connmond:25829")]
    [True, True, True, True]
    >>> [is_own_name(host, names) for host in ("Web1.example.org.", "evil.example.org", "", "a b")]
    [True, False, False, False]
    """
    if host.startswith("["):
        name, _, port = host[1:].partition("]")
        port = port.removeprefix(":")
    else:
        name, _, port = host.partition(":")
    name = name.lower().rstrip(".")
    if port and not (port.isascii() and port.isdigit()):
        return False
    try:
        ip_address(name.partition("%")[0])
    except ValueError:
        is_short = name.replace("-", "").replace("_", "").isalnum()
        return is_short or is_loopback(name) or name in names
    return True


def _one(headers: Sequence[Header], name: bytes) -> str | None:
    """The only header of this name; ``None`` if there is none, or more than one."""
    found = [value for one, value in headers if one == name]
    return found[0].decode("latin-1") if len(found) == 1 else None


async def _refuse(refusal: Refusal, send: Send) -> None:
    body = f"{refusal.sentence}\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        *refusal.headers,
    ]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
