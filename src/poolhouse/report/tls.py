"""TLS over bytes, without a socket: received bytes go in, bytes to send come out.

Certificates are checked, including the host's name, against the system's authorities and the certificate named in
the configuration, so that a service may use a self-made one.
"""

import ssl
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from poolhouse.configuration.service import Certificate
from poolhouse.errors import SettingError
from poolhouse.report.trust import system_context
from poolhouse.shortage import words_of

if TYPE_CHECKING:
    from poolhouse.report.network import TcpSocket

_READ_BYTES = 65536


def client_context(certificate: Certificate) -> ssl.SSLContext:
    """The TLS context of a client, a console, or a node that connects to another.

    Raises:
        SettingError: If the certificate exists but cannot be read, or if the system's cannot be read at present.
    """
    try:
        context = system_context()
    except (OSError, MemoryError) as error:
        words = f"the system's certificates cannot be used: {words_of(error)}"
        raise SettingError("ssl_certfile", words) from None
    # A client may trust the service's certificate without having the file: by an authority of the system.
    if Path(certificate.certfile).exists():
        try:
            context.load_verify_locations(cafile=certificate.certfile)
        except (OSError, MemoryError) as error:
            words = f"{certificate.certfile!r} cannot be used: {words_of(error)}"
            raise SettingError("ssl_certfile", words) from None
    return context


def server_context(certificate: Certificate) -> ssl.SSLContext:
    """The TLS context of a node.

    Raises:
        SettingError: If certificate or key cannot be read.
    """
    try:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate.certfile, certificate.keyfile, password=_no_password)
    except (OSError, MemoryError, _PasswordNeeded) as error:
        files = " and ".join(filter(None, (certificate.certfile, certificate.keyfile)))
        raise SettingError("ssl_certfile", f"{files} cannot be used: {words_of(error)}") from None
    return context


class _PasswordNeeded(Exception):
    pass


def _no_password() -> str:
    # Otherwise OpenSSL would ask at the terminal, and a service would hang.
    raise _PasswordNeeded("the key is protected by a password")


class TlsPipe:
    """The encryption of one connection.

    Attributes:
        is_open: Whether the handshake is done.
    """

    def __init__(self, context: ssl.SSLContext, hostname: str) -> None:
        """Start; `outgoing` returns the first bytes.

        Args:
            context: From `client_context`.
            hostname: The name or address that the certificate must be for.
        """
        self.is_open = False
        self._arrived = ssl.MemoryBIO()
        self._leaving = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._arrived, self._leaving, server_hostname=hostname)
        self._move_on()

    def outgoing(self) -> bytes:
        """The bytes to send now; each is returned once."""
        return self._leaving.read()

    def receive(self, data: bytes) -> bytes:
        """Take received bytes; returns the decrypted content.

        Raises:
            OSError: If the other side's certificate is not trusted, or if it does not speak TLS (`ssl.SSLError`).
        """
        self._arrived.write(data)
        self._move_on()
        said = bytearray()
        while self.is_open:
            try:
                more = self._tls.read(_READ_BYTES)
            except ssl.SSLWantReadError:
                break
            if not more:
                raise ConnectionResetError("the node has closed the connection")
            said += more
        return bytes(said)

    def send(self, data: bytes) -> None:
        """Encrypt data, which `outgoing` then returns. Only once the pipe is open."""
        self._tls.write(data)

    def _move_on(self) -> None:
        if not self.is_open:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                return
            self.is_open = True


class TlsSocket:
    """A `poolhouse.report.network.TcpSocket` with encryption."""

    def __init__(self, plain: "TcpSocket", context: ssl.SSLContext, hostname: str) -> None:
        """Start on a socket that is connecting.

        Args:
            plain: The socket.
            context: From `client_context`.
            hostname: The name or address that the certificate must be for.
        """
        self._plain = plain
        self._pipe = TlsPipe(context, hostname)
        self._leaving = bytearray(self._pipe.outgoing())
        self._said = bytearray()
        self.is_ours = plain.is_ours
        self.close = plain.close

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._plain.fileno()

    def is_connected(self) -> bool:
        """Whether the handshake is done."""
        if not self._plain.is_connected():
            return False
        self._exchange()
        return self._pipe.is_open

    def send(self, data: bytes) -> int:
        """Take as much as can be encrypted now, if everything taken before has left."""
        self._flush()
        if self._leaving:
            raise BlockingIOError
        taken = data[:_READ_BYTES]
        self._pipe.send(taken)
        self._flush()
        return len(taken)

    def receive(self, size: int) -> bytes:
        """Decrypted data from the other side."""
        if not self._said:
            self._exchange()
        if not self._said:
            raise BlockingIOError
        said = bytes(self._said[:size])
        del self._said[:size]
        return said

    def _exchange(self) -> None:
        """Read what has arrived, and send what that requires."""
        with suppress(BlockingIOError):
            data = self._plain.receive(_READ_BYTES)
            if not data:
                raise ConnectionResetError("the node has closed the connection")
            self._said += self._pipe.receive(data)
        self._flush()

    def _flush(self) -> None:
        self._leaving += self._pipe.outgoing()
        while self._leaving:
            try:
                del self._leaving[: self._plain.send(bytes(self._leaving))]
            except BlockingIOError:
                return
