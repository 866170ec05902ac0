"""AES-256 in OFB mode, as in collectd. The package `cryptography` does the work; it is imported on first use."""

from collections.abc import Callable
from typing import TypeAlias

from poolhouse.errors import SettingError
from poolhouse.installing import install_command

#: Takes a key of 32 bytes, a start vector of 16 bytes and a length, and returns that many bytes, to be XORed
#: with the data.
Keystream: TypeAlias = Callable[[bytes, bytes, int], bytes]

#: The extra that installs the package.
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
        # CBC over zeros encrypts each previous block again, which is exactly OFB's keystream. OFB itself has moved
        # to another module in newer releases of the package.
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
