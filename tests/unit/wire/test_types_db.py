"""collectd's types.db."""

from math import inf

import pytest

from poolhouse.errors import SettingError
from poolhouse.wire.typesdb import DataSource, parse_types_db
from poolhouse.wire.values import ABSOLUTE, COUNTER, DERIVE, GAUGE

TYPES = """\
# a comment

count          value:GAUGE:0:U
derive\tvalue:DERIVE:0:U
if_octets\trx:COUNTER:0:4294967295, tx:COUNTER:0:4294967295
temperature    value:gauge:-273.15:U
count_seen     value:ABSOLUTE:U:U
count          seconds:GAUGE:0:U
"""


def test_each_type_has_its_data_sources():
    types = parse_types_db(TYPES)
    assert types["if_octets"] == (
        DataSource("rx", COUNTER, 0, 4294967295),
        DataSource("tx", COUNTER, 0, 4294967295),
    )
    assert types["derive"] == (DataSource("value", DERIVE, 0, inf),)
    assert types["temperature"] == (DataSource("value", GAUGE, -273.15, inf),)
    assert types["count_seen"] == (DataSource("value", ABSOLUTE, -inf, inf),)


def test_the_last_of_two_definitions_holds():
    assert parse_types_db(TYPES)["count"] == (DataSource("seconds", GAUGE, 0, inf),)


@pytest.mark.parametrize(
    "line", ["count", "count v", "count v:GAUGE:0", "count v:GAGE:0:U", "count v:GAUGE:a:U", "count v:GAUGE:nan:U"]
)
def test_a_malformed_line_is_named(line: str):
    with pytest.raises(SettingError, match=r"types\.db: line 2 "):
        parse_types_db(f"derive value:DERIVE:0:U\n{line}\n")
