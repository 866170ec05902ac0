"""Who is answered over HTTP, without a network."""

import asyncio
import base64
from collections.abc import Iterable

import pytest

from poolhouse.configuration.service import Login
from poolhouse.daemon.http.gate import HEADERS, Gate, Message, Receive, Scope, Send
from poolhouse.daemon.reception import FAILURES_PERIOD_S, MOST_FAILURES
from poolhouse.feed.protocol.subscribers import parse_network
from poolhouse.testing.clock import VirtualClock

LOGIN = Login("monitor", "s3crët:")


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-own", b"1")]})
    await send({"type": "http.response.body", "body": b"the fleet"})


class Asked:
    """A gate, and what it answers."""

    def __init__(self, allow: Iterable[str] = (), login: Login | None = None) -> None:
        self.clock = VirtualClock()
        networks = [parse_network(one) for one in allow]
        self.gate = Gate(application, {"Web1.Example.org"}, networks, login, self.clock)

    def __call__(
        self,
        path: str = "/metrics",
        *,
        host: str | None = "localhost:25829",
        method: str = "GET",
        client: str = "10.0.0.9",
        authorization: str | None = None,
        more: Iterable[tuple[bytes, bytes]] = (),
    ) -> int:
        headers = [*more]
        if host is not None:
            headers.append((b"host", host.encode("latin-1")))
        if authorization is not None:
            headers.append((b"authorization", authorization.encode("latin-1")))
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            raise AssertionError("nothing is received")

        scope = {"type": "http", "method": method, "path": path, "headers": headers, "client": (client, 5)}
        asyncio.run(self.gate(scope, receive, send))
        start, body = sent
        self.headers = dict(start["headers"])
        self.body = body["body"]
        return int(start["status"])


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_every_answer_forbids_what_a_page_could_do() -> None:
    asked = Asked()
    assert (asked(), asked.body) == (200, b"the fleet")
    assert asked.headers == {b"x-own": b"1", **dict(HEADERS)}
    assert b"default-src 'none'" in asked.headers[b"content-security-policy"]
    assert asked(host="evil.example.org") == 421
    assert dict(HEADERS).items() <= asked.headers.items()


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1:25829", "[fd00::1]:9", "WEB1.example.org.:80", "connmond"]
)
def test_a_host_of_this_machine_is_answered(host: str) -> None:
    assert Asked()(host=host) == 200


@pytest.mark.parametrize("host", [None, "", "evil.example.org", "web1.example.org.evil.org", "a b", "localhost:x"])
def test_a_host_of_another_machine_is_not(host: str | None) -> None:
    asked = Asked()
    assert (asked(host=host), asked.gate.refused) == (421, {"host": 1})


def test_two_hosts_are_none() -> None:
    assert Asked()(more=[(b"host", b"localhost")]) == 421


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_nothing_but_reading_is_answered(method: str) -> None:
    asked = Asked()
    assert asked(method=method) == 405
    assert asked.headers[b"allow"] == b"GET, HEAD"


def test_without_a_login_allowed_networks_bound_who_is_answered() -> None:
    asked = Asked(["10.0.0.0/8"])
    assert (asked(), asked(client="127.0.0.1"), asked(client="::ffff:10.1.1.1")) == (200, 200, 200)
    assert (asked(client="192.168.0.1"), asked(client="fd00::1"), asked.gate.refused) == (403, 403, {"address": 2})
    assert b"--allow" in asked.body


def test_a_login_is_asked_for_and_wins_over_networks() -> None:
    asked = Asked(["10.0.0.0/8"], LOGIN)
    assert asked() == 401
    assert asked.headers[b"www-authenticate"].startswith(b'Basic realm="poolhouse"')
    right = basic(LOGIN.user, LOGIN.password)
    assert asked(authorization=right, client="192.168.0.1") == 200
    assert asked(authorization=right.replace("Basic", "bAsIc"), client="192.168.0.1") == 200


@pytest.mark.parametrize(
    "wrong",
    [
        basic("monitor", "s3crët"),
        basic("", ""),
        "Basic",
        "Basic ä",
        "Basic !!!",
        "Bearer " + base64.b64encode(b"monitor:x").decode(),
        "",
    ],
)
def test_a_wrong_login_is_refused_and_after_some_of_them_the_address_waits(wrong: str) -> None:
    asked = Asked(login=LOGIN)
    right = basic(LOGIN.user, LOGIN.password)
    for _ in range(MOST_FAILURES):
        assert asked(authorization=wrong) == 401
    assert asked(authorization=right) == 429
    assert asked(authorization=right, client="10.0.0.10") == 200
    asked.clock.advance(FAILURES_PERIOD_S)
    assert asked(authorization=right) == 200


def test_whether_it_is_well_is_told_without_a_login_but_not_to_a_foreign_page() -> None:
    asked = Asked(["10.0.0.0/8"], LOGIN)
    assert (asked("/healthz", client="192.168.0.1"), asked("/readyz", client="192.168.0.1")) == (200, 200)
    assert asked("/healthz", host="evil.example.org") == 421


def test_a_new_login_holds_at_once() -> None:
    asked = Asked(login=LOGIN)
    asked.gate.login = Login("other", "one")
    assert asked(authorization=basic("other", "one")) == 200
    asked.gate.login = None
    assert asked() == 200
