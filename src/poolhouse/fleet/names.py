"""Names from the network, made safe for terminals, file names and collectd's identifiers."""

from poolhouse.clean import PLACEHOLDER, clean

#: C0 and C1 control characters and line separators; then the separators of a path's parts.
_CONTROL = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029), "_")
_HOST_SIGN = "\0"
_UNSAFE = {**_CONTROL, ord("/"): "_"}


def clean_name(name: str) -> str:
    r"""A host's, program's or token's name with ``_`` for ``/``, a leading dot and invisible characters.

    >>> clean_name("a/b\n"), clean_name(".."), clean_name("shop\u202egpj")
    ('a_b_', '_.', 'shop_gpj')
    """
    cleaned = name.translate(_UNSAFE)
    if not cleaned.isprintable():
        cleaned = clean(cleaned, len(cleaned)).replace(PLACEHOLDER, "_")
    if cleaned.startswith("."):
        return "_" + cleaned[1:]
    # Thousands of processes keep their names: return the same object if nothing was changed.
    return name if cleaned == name else cleaned


def clean_text(text: str) -> str:
    r"""Text for people, such as a pool's name, with ``_`` for control characters.

    >>> clean_text("db1:5432/shop\x1b")
    'db1:5432/shop_'
    """
    return text.translate(_CONTROL)


def asking_for_host(host: str) -> str:
    r"""The name to request instead of a program's, for the programs of a host.

    No program has such a name: names have no control characters.

    >>> asking_for_host("web1")
    '\x00web1'
    """
    return _HOST_SIGN + host


def asked_host(asked: str | None) -> str | None:
    r"""The requested host; ``None`` if a program is requested, or nothing.

    >>> asked_host("\x00web1"), asked_host("checkout"), asked_host(None)
    ('web1', None, None)
    """
    return asked[1:] if asked is not None and asked.startswith(_HOST_SIGN) else None


def plugin_instance(program: str) -> str:
    """The program's name in collectd, where ``host`` is the host's own sum.

    >>> plugin_instance("nova"), plugin_instance("host"), plugin_instance("host_")
    ('nova', 'host_', 'host__')
    """
    return program + "_" if program.rstrip("_") == "host" else program
