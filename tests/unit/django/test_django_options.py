"""The setting POOLHOUSE of a Django project."""

from typing import Any

import pytest

from poolhouse.django.options import destination_of
from poolhouse.errors import SettingError
from poolhouse.report.destination import Destination

DEFAULT = Destination(host="web1", port=7, program_name="gunicorn")


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ({}, None),
        ({"program": "shop"}, Destination(host="web1", port=7, program_name="shop")),
        ({"report": "collectd://web2/?program_name=nova"}, Destination(host="web2", program_name="nova")),
        (
            {"report": "collectd://web2/?program_name=nova", "program": "shop"},
            Destination(host="web2", program_name="shop"),
        ),
    ],
)
def test_program_and_destination_are_named(setting: Any, expected: Destination | None) -> None:
    assert destination_of(setting, DEFAULT) == expected


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("shop", "POOLHOUSE: expected a dictionary with program and report, not 'shop'"),
        (None, "POOLHOUSE: expected a dictionary"),
        ({"programme": "shop"}, "there is no setting 'programme'; there are program and report"),
        ({"program": ""}, "program: expected a text, not ''"),
        ({"program": 5}, "program: expected a text, not 5"),
        (
            "collectd://ann:Zq7secret@web1/",
            "expected a dictionary with program and report, not 'collectd://ann:…@web1/'",
        ),
        (
            {"report": ["collectd://web1/?password=Zq7secret"]},
            "report: expected a text, not ['collectd://web1/?password=…']",
        ),
        ({"report": b"collectd://ann:Zq7secret@web1/"}, "report: expected a text, not b'collectd://ann:…@web1/'"),
        ({"report": "web1"}, "POOLHOUSE: report: url: expected collectd://host:port"),
        ({"report": "collectd://web1/?interval=x"}, "POOLHOUSE: report: interval: expected seconds"),
    ],
)
def test_a_mistake_is_named(setting: Any, sentence: str) -> None:
    with pytest.raises(SettingError) as raised:
        destination_of(setting, DEFAULT)
    assert sentence in str(raised.value)
    assert "Zq7secret" not in repr(raised.value)
