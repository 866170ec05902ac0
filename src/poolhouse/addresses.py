"""Addresses as people write them."""

from ipaddress import IPv4Address, IPv6Address, ip_address

from poolhouse.errors import SettingError

LARGEST_PORT = 65535
#: Where one listens: every address of this machine, IPv4 and IPv6, as far as it has them.
EVERYWHERE = "*"
#: What stands for every address of one family.
UNSPECIFIED = ("0.0.0.0", "::")
#: The most digits of a port, leading zeros included: Python refuses to convert more than 4,300.
_MOST_DIGITS = 20


def parse_address(text: str, default_port: int, setting: str) -> tuple[str, int]:
    """Host and port of ``host``, ``host:port``, ``::1``, ``[::1]`` or ``[::1]:port``.

    Args:
        text: What the user wrote. Without a host, as in ``:25827``, it means every address of this machine.
        default_port: The port if the text has none.
        setting: The user's name for the setting.

    Raises:
        SettingError: If it is not an address.

    >>> parse_address("web1:25827", 1, "reports"), parse_address("::1", 25828, "consoles")
    (('web1', 25827), ('::1', 25828))
    """
    text = text.strip()
    if "@" in text:
        raise SettingError(setting, "expected host:port; a user or a password before @ does not belong here")
    if "=" in text:
        raise SettingError(setting, "expected host:port, not settings such as host=…")
    if is_ipv6(text):
        return text, default_port
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, str(default_port)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if not is_ipv6(host):
            raise SettingError(setting, f"{text!r}: {host!r} is not an IPv6 address")
    elif ":" in host:
        raise SettingError(setting, f"{text!r} is not host:port; write an IPv6 address as [::1]:{default_port}")
    is_number = port.isascii() and port.isdigit() and len(port) <= _MOST_DIGITS
    if not is_number or int(port) > LARGEST_PORT:
        raise SettingError(setting, f"{text!r}: {port!r} is not a port")
    return host or "0.0.0.0", int(port)


def format_address(host: str, port: int) -> str:
    """Host and port as one word.

    >>> format_address("web1", 25828), format_address("::1", 25828)
    ('web1:25828', '[::1]:25828')
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def as_ip(host: str) -> IPv4Address | IPv6Address | None:
    """The IP address that `host` spells, without its zone; ``None`` for a name.

    An IPv4 address reported by an IPv6 socket (``::ffff:…``) becomes an IPv4 address.

    >>> as_ip("::ffff:10.0.0.1"), as_ip("fe80::1%eth0"), as_ip("web1")
    (IPv4Address('10.0.0.1'), IPv6Address('fe80::1'), None)
    """
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_loopback(host: str) -> bool:
    """Whether an address or a name is reachable from this machine only; of names, only ``localhost`` is certain.

    >>> [is_loopback(host) for host in ("127.0.0.2", "::1", "::ffff:127.0.0.1", "localhost")]
    [True, True, True, True]
    >>> [is_loopback(host) for host in ("0.0.0.0", "::", "::ffff:10.0.0.1", "web1")]
    [False, False, False, False]
    """
    address = as_ip(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def is_ipv6(text: str) -> bool:
    """Whether the text is an IPv6 address, with or without a scope (``fe80::1%eth0``).

    >>> is_ipv6("::1"), is_ipv6("web1:25828")
    (True, False)
    """
    try:
        return ip_address(text.partition("%")[0]).version == 6
    except ValueError:
        return False
