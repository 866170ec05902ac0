"""types.db, as collectd reads it."""

from poolhouse.errors import SettingError
from poolhouse.wire.typesdb import parse_types_db


def seeds() -> dict[str, bytes]:
    """Types of each kind."""
    return {
        "types": b"# ours\ncount value:GAUGE:0:U\nderive value:DERIVE:0:U\npercent\tvalue:GAUGE:0:100.1\n",
        "several": b"load a:GAUGE:0:5000, midterm:GAUGE:0:5000,longterm:absolute:-1:1e9\nx a:COUNTER:U:U\n",
    }


def check(data: bytes) -> None:
    """Nothing but `SettingError`; every type has bounds that are numbers."""
    try:
        types = parse_types_db(data.decode("utf-8", "replace"))
    except SettingError:
        return
    for sources in types.values():
        assert sources
        assert all(source.minimum == source.minimum and source.maximum == source.maximum for source in sources)
