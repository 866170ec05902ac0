"""AES-256 in OFB mode, as collectd encrypts, by the package `cryptography`: imported when it is asked for."""

from collections.abc import Callable
from typing import TypeAlias

from poolhouse.errors import SettingError
from poolhouse.installing import install_command

#: From a key of 32 bytes, a start vector of 16 bytes and a length to that many bytes: data are combined with them
#: by exclusive or.
Keystream: TypeAlias = Callable[[bytes, bytes, int], bytes]

#: The extra that brings what is needed.
EXTRA = "encrypt"
_BLOCK = 16


def load_keystream() -> Keystream | None:
    """The keystream; ``None`` where the package is not installed."""
    try:
        from cryptography.hazmat.primitives.ciphers import Cipher
        from cryptography.hazmat.primitives.ciphers.algorithms import AES
        from cryptography.hazmat.primitives.ciphers.modes import CBC
    except ImportError:
        return None

    def keystream(key: bytes, start: bytes, length: int) -> bytes:
        # CBC of zeros encrypts the block before again and again, and that is OFB's keystream. Newer releases of
        # the package have OFB itself in another place.
        encryptor = Cipher(AES(key), CBC(start)).encryptor()
        return encryptor.update(bytes(-(-length // _BLOCK) * _BLOCK))[:length]

    return keystream


def require_keystream(setting: str) -> Keystream:
    """The keystream.

    Args:
        setting: The setting that needs it.

    Raises:
        SettingError: If the package is not installed; it says what to install.
    """
    keystream = load_keystream()
    if keystream is None:
        raise SettingError(setting, f"encryption needs the package cryptography: {install_command(EXTRA)}")
    return keystream
