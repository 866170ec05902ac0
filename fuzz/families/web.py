"""A request over HTTP, as far as it is ours: method, path, Host, Authorization, Accept, who asks.

An input is these texts, a line for each.
"""

from poolhouse.clock import SystemClock
from poolhouse.configuration.service import Login
from poolhouse.daemon.http.gate import Gate, Refusal
from poolhouse.export.prometheus_formats import accepted
from poolhouse.feed.protocol.subscribers import parse_network


def seeds() -> dict[str, bytes]:
    """Requests that are answered, and some that are not."""
    return {
        "metrics": b"GET\n/metrics\nlocalhost:25829\nBasic bWU6c2VjcmV0\ntext/plain;version=0.0.4;q=1\n127.0.0.1",
        "health": b"HEAD\n/healthz\n[::1]:80\n\n*/*\n::1",
        "rebinding": b"GET\n/\nevil.example.org\nBearer x\napplication/openmetrics-text; version=1.0.0\n192.0.2.1",
    }


async def _app(*_: object) -> None:
    """Never called: only the gate is looked at."""


def check(data: bytes) -> None:
    """Nothing but `Refusal`; nobody from elsewhere is let in without the login."""
    fields = (data.split(b"\n") + [b""] * 6)[:6]
    method, path, host, authorization, accept, client = fields
    accepted(accept.decode("latin-1"))
    for login in (None, Login("me", "secret")):
        gate = Gate(_app, ("web1.example.org",), [parse_network("10.0.0.0/8")], login, SystemClock())
        scope = {
            "method": method.decode("latin-1"),
            "path": path.decode("latin-1"),
            "headers": [(b"host", host), *([(b"authorization", authorization)] if authorization else [])],
            "client": (client.decode("latin-1"), 1),
        }
        try:
            gate.check(scope)
        except Refusal as refusal:
            refusal.sentence.encode()
            continue
        assert login is None or path in (b"/healthz", b"/readyz") or authorization, "let in without the login"
