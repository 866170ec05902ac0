"""Every exception that poolhouse raises, in one tree.

::

    PoolhouseError
    ├── PacketError      a datagram is malformed: the sender's fault   (also a ValueError)
    └── SettingError     a setting is wrong: the message names it      (also a ValueError)
"""


class PoolhouseError(Exception):
    """Base of every exception of poolhouse."""


class PacketError(PoolhouseError, ValueError):
    """A datagram is malformed.

    Attributes:
        offset: Where the malformed part begins, in bytes from the start of the datagram.
    """

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(f"{message} (at byte {offset})")
        self.offset = offset


class SettingError(PoolhouseError, ValueError):
    """A setting has a value it cannot have, or does not exist.

    Attributes:
        setting: Its name as the user typed it, for example ``collectd_port``.
    """

    def __init__(self, setting: str, message: str) -> None:
        super().__init__(f"{setting}: {message}")
        self.setting = setting
