"""Descriptors or memory are exhausted while connmond reads its configuration again: all stays as it was."""

import re
import ssl
from logging import ERROR
from pathlib import Path
from typing import Any

import pytest

from poolhouse.daemon import serve
from poolhouse.daemon.consoles import ConsoleFace
from poolhouse.daemon.part import Hub
from poolhouse.daemon.reports import ReportListener
from poolhouse.daemon.serve import _Changeable
from poolhouse.daemon.settings import Settings, parse_settings
from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.limits import FleetLimits
from poolhouse.testing.clock import VirtualClock
from support.exhausted import OF_FILES, OF_MEMORY, Calls, Exhausted, each, words

CERTIFICATES = Path(__file__).parents[1] / "support" / "certificates"
CONFIGURATION = """\
[connmon_service_default]
name: default
nodes: n1 hostname=127.0.0.1:5800
use_ssl: 1
ssl_certfile: {folder}/node.pem
ssl_keyfile: {folder}/node.key
use_auth: 1
auth_key: monitor
auth_secret: {secret}
"""
COLLECTOR = {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector.test:4318"}

#: Calls with which it is read, and what they can raise.
READS: Calls = [
    (Path, "open", OF_FILES | OF_MEMORY),
    (ssl, "create_default_context", OF_FILES | OF_MEMORY),
    (ssl.SSLContext, "load_cert_chain", OF_FILES | OF_MEMORY),
    (serve, "prepare", OF_MEMORY),
    (serve, "server_context", OF_MEMORY),
]


class Log:
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[tuple[int, str]] = []

    def __call__(self, level: int, sentence: str) -> None:
        self.said.append((level, sentence))

    def change(self, settings: Settings, before: Settings) -> None:
        """It stays as it is."""


class Reloaded:
    """The parts of a daemon with TLS, and the file that they are made from."""

    def __init__(self, folder: Path) -> None:
        for name in ("node.pem", "node.key"):
            (folder / name).write_bytes((CERTIFICATES / name).read_bytes())
        self._folder = folder
        self.log: Any = Log()
        self.write("s3cret")
        reports = ReportListener([], self.log)
        self.parts = _Changeable(self.read(), [], ConsoleFace([], ()), self.log, reports)
        clock = VirtualClock()
        self.parts.listener.attach(Hub(Fleet(FleetLimits(), clock.monotonic()), clock))

    def write(self, secret: str) -> None:
        text = CONFIGURATION.format(folder=self._folder, secret=secret)
        (self._folder / "connmon.cfg").write_text(text)

    def read(self) -> Settings:
        file = str(self._folder / "connmon.cfg")
        return parse_settings([], [], [], file, node="n1", otlp=None, environ=self.environ)

    @property
    def environ(self) -> dict[str, str]:
        return {**COLLECTOR, "OTEL_EXPORTER_OTLP_CERTIFICATE": str(self._folder / "node.pem")}

    @property
    def secret(self) -> str | None:
        login = self.parts._settings.service.login
        return None if login is None else login.password

    def reload(self) -> list[tuple[int, str]]:
        self.log.said.clear()
        self.parts.read_again(self.read)
        return list(self.log.said)


def shaken_hands(server: ssl.SSLContext) -> bool:
    """Whether a client that trusts the node agrees with this context on how to speak."""
    client = ssl.create_default_context(cafile=str(CERTIFICATES / "node.pem"))
    ends = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [client.wrap_bio(*ends, server_hostname="localhost"), server.wrap_bio(*ends[::-1], server_side=True)]
    for _ in range(4):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return all(side.version() for side in sides)


@pytest.mark.parametrize(
    ("owner", "name", "error"),
    each(READS),
)
def test_nothing_changes_during_a_shortage_and_everything_after_it(tmp_path, owner, name, error):
    one = Reloaded(tmp_path)
    context = one.parts.context
    one.write("another")
    with Exhausted(owner, name, error) as exhausted:
        said = one.reload()
    assert exhausted.calls == 1
    ((level, sentence),) = said
    assert level == ERROR
    assert words(error) in sentence
    assert sentence.endswith("; connmond keeps running as it did")
    assert one.secret == "s3cret"
    assert one.parts.context is one.parts.listener._acceptor.context is context
    assert one.reload()[0][1].endswith("was read again")
    assert one.secret == "another"
    assert one.parts.context is one.parts.listener._acceptor.context is not context


def test_a_certificate_that_cannot_be_used_leaves_the_old_one_whole(tmp_path):
    one = Reloaded(tmp_path)
    assert one.parts.context is not None
    (tmp_path / "node.key").write_bytes((CERTIFICATES / "other.key").read_bytes())
    ((_, sentence),) = one.reload()
    assert re.search(r"ssl_certfile: .*node\.pem and .*node\.key cannot be used: ", sentence)
    assert shaken_hands(one.parts.context)


def test_the_live_context_is_never_loaded_into_and_each_is_made_once(tmp_path, monkeypatch):
    one = Reloaded(tmp_path)
    made: list[ssl.SSLContext] = []
    loaded: list[ssl.SSLContext] = []
    make, load = ssl.create_default_context, ssl.SSLContext.load_cert_chain

    def create(*arguments: Any, **named: Any) -> ssl.SSLContext:
        made.append(make(*arguments, **named))
        return made[-1]

    def load_cert_chain(context: ssl.SSLContext, *arguments: Any, **named: Any) -> None:
        loaded.append(context)
        load(context, *arguments, **named)

    monkeypatch.setattr(ssl, "create_default_context", create)
    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", load_cert_chain)
    live = one.parts.context
    one.reload()
    assert len(made) == 3  # For the collector, for clients, and for other nodes.
    assert loaded == [one.parts.context]
    assert live not in loaded
