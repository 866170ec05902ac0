"""Descriptors are exhausted where OpenSSL reads the system's certificates: it says nothing of that, so we do."""

import shutil
import socket
import ssl
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path

import pytest

from poolhouse.configuration.otlp import OtlpTarget
from poolhouse.configuration.service import Certificate
from poolhouse.daemon.otlp_sender import prepare
from poolhouse.errors import SettingError
from poolhouse.report.tls import client_context, server_context
from support.exhausted import no_descriptors

CERTIFICATES = Path(__file__).parents[1] / "support" / "certificates"
NODE = CERTIFICATES / "node.pem"
#: Under this name OpenSSL looks for the node's certificate in a directory: ``openssl x509 -hash -in node.pem``.
HASHED = "6b12b839.0"

Trust = Callable[[], ssl.SSLContext | None]
#: What trusts the system's authorities: the configuration of a client may name a file that only the nodes have.
TRUSTING: dict[str, Trust] = {
    "links": lambda: client_context(Certificate("missing.pem")),
    "metrics": lambda: prepare(OtlpTarget("https://collector.test:4318/v1/metrics")),
}
trusting = pytest.mark.parametrize("trust", TRUSTING.values(), ids=TRUSTING)


@trusting
def test_a_file_of_authorities_that_cannot_be_opened_is_an_error_and_no_context_that_trusts_nobody(
    monkeypatch: pytest.MonkeyPatch, trust: Trust
):
    monkeypatch.setenv("SSL_CERT_FILE", str(NODE))
    monkeypatch.setenv("SSL_CERT_DIR", "/missing")
    with (
        no_descriptors(),
        pytest.raises(SettingError, match="system's certificates cannot be used: Too many open"),
    ):
        trust()
    context = trust()
    assert context is not None
    assert context.cert_store_stats()["x509"] == 1


@trusting
@pytest.mark.parametrize("has_sockets", [False, True], ids=["bytes", "sockets"])
def test_a_directory_of_authorities_that_cannot_be_read_is_why_a_handshake_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trust: Trust, has_sockets: bool
):
    monkeypatch.setenv("SSL_CERT_FILE", "/missing")
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    with pytest.raises(ssl.SSLCertVerificationError):  # Nobody is trusted, and no shortage is the reason.
        shake(trust(), has_sockets, nullcontext())
    shutil.copy(NODE, tmp_path / HASHED)
    with pytest.raises(OSError, match="Too many open files"):
        shake(trust(), has_sockets, no_descriptors())
    assert shake(trust(), has_sockets, nullcontext()) == "TLSv1.3"


def shake(
    client: ssl.SSLContext | None, has_sockets: bool, surroundings: AbstractContextManager[None]
) -> str | None:
    """The version in which a client and a node agree to speak, over sockets or over bytes alone."""
    assert client is not None
    server = server_context(Certificate(str(NODE), str(NODE.with_suffix(".key"))))
    ends = socket.socketpair()
    sides: list[ssl.SSLObject | ssl.SSLSocket]
    if has_sockets:
        for end in ends:
            end.setblocking(False)
        sides = [
            client.wrap_socket(ends[0], server_hostname="localhost", do_handshake_on_connect=False),
            server.wrap_socket(ends[1], server_side=True, do_handshake_on_connect=False),
        ]
    else:
        buffers = ssl.MemoryBIO(), ssl.MemoryBIO()
        sides = [
            client.wrap_bio(*buffers, server_hostname="localhost"),
            server.wrap_bio(*buffers[::-1], server_side=True),
        ]
    try:
        with surroundings:
            for _ in range(4):
                for side in sides:
                    with suppress(ssl.SSLWantReadError):
                        side.do_handshake()
        return sides[0].version()
    finally:
        for one in (*ends, *sides):
            if isinstance(one, socket.socket):
                one.close()
