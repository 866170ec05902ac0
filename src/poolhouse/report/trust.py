"""Trust in the system's authorities that fails visibly if OpenSSL cannot read their certificates.

OpenSSL treats a file that it cannot open as missing. Without free descriptors a context would trust nobody for as
long as it lives, and a handshake would report a good certificate as unknown.
"""

import os
import ssl

from poolhouse.shortage import is_shortage

#: OpenSSL's codes for a certificate whose authority it did not find, which makes it search a directory.
#: Source: ``X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT`` and its like in ``x509_vfy.h``.
_NO_AUTHORITY = (2, 18, 19, 20, 21)


def system_context() -> ssl.SSLContext:
    """A context for connecting, which trusts the system's authorities.

    Its handshakes raise `ssl.SSLCertVerificationError` if a certificate is not trusted, and a plain OSError if the
    authorities could not be read for lack of descriptors.

    Raises:
        OSError: If the authorities cannot be read for lack of descriptors.
        MemoryError: If there is no memory for them.
    """
    context = ssl.create_default_context()
    file = ssl.get_default_verify_paths().cafile
    if file and not context.cert_store_stats()["x509"]:
        try:
            context.load_verify_locations(cafile=file)
        except OSError as error:
            if is_shortage(error):
                raise
            # The file is unreadable to this user, or has no certificate; the directory may have some.
    context.sslobject_class, context.sslsocket_class = _Object, _Socket
    return context


def _cause(error: ssl.SSLCertVerificationError) -> OSError:
    """Why a certificate was rejected; OpenSSL reads directories of authorities during the handshake."""
    if error.verify_code in _NO_AUTHORITY:
        try:
            os.close(os.open(os.devnull, os.O_RDONLY))
        except OSError as shortage:
            if is_shortage(shortage):
                return shortage
    return error


class _Object(ssl.SSLObject):
    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except ssl.SSLCertVerificationError as error:
            raise _cause(error) from None


class _Socket(ssl.SSLSocket):
    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except ssl.SSLCertVerificationError as error:
            raise _cause(error) from None
