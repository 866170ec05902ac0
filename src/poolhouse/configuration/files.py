"""Loads the configuration: from the given file, from ``/etc/connmon.cfg``, or the built-in default."""

from pathlib import Path

from poolhouse.configuration.parse import parse_configuration
from poolhouse.configuration.service import BUILT_IN, Configuration
from poolhouse.errors import SettingError

#: The file that is read if none is named; it need not exist.
DEFAULT_PATH = "/etc/connmon.cfg"
#: The most bytes of a configuration: naming a huge file or a device by mistake gives an error.
LARGEST_FILE = 1 << 20


def load_configuration(path: str | None = None, setting: str = "--config") -> Configuration:
    """The configuration in effect.

    Args:
        path: The file; ``None`` for `DEFAULT_PATH`, or the built-in configuration if that does not exist.
        setting: The user's name for `path`, for messages.

    Raises:
        SettingError: If the file cannot be read, or has a mistake.
    """
    try:
        with Path(DEFAULT_PATH if path is None else path).open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        if path is None:
            return BUILT_IN
        raise SettingError(setting, f"there is no file {path!r}") from None
    except (OSError, ValueError) as error:
        raise SettingError(setting, f"{path or DEFAULT_PATH!r} cannot be read: {error}") from None
    if len(content) > LARGEST_FILE:
        raise SettingError(setting, f"{path or DEFAULT_PATH!r} is larger than {LARGEST_FILE:,} bytes")
    return parse_configuration(_text(content), path or DEFAULT_PATH)


def _text(content: bytes) -> str:
    """The content as UTF-8, or else as Latin-1: old releases of connmon took any bytes."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")
