"""What the log is told of a destination."""

import ssl

from poolhouse.errors import PacketError
from poolhouse.report.route import State
from poolhouse.report.told import MOST_REASONS, Told

GONE = ConnectionRefusedError(111, "Connection refused")
LOGIN = PacketError("it demands a login")


def test_each_change_is_told_once() -> None:
    told = Told()
    assert not told.is_news(State.UNTRIED, None)
    for _ in range(2):
        assert told.is_news(State.UNREACHED, GONE)
        assert not told.is_news(State.UNREACHED, TimeoutError("no connection within 2 s"))
        assert told.is_news(State.REACHED, None)
        assert not told.is_news(State.REACHED, None)


def test_a_reason_that_somebody_has_to_mend_is_told_though_the_outage_is_known() -> None:
    told = Told()
    assert told.is_news(State.UNREACHED, GONE)
    for error in (LOGIN, ssl.SSLCertVerificationError("self-signed certificate")):
        assert told.is_news(State.UNREACHED, error)
        assert not told.is_news(State.UNREACHED, error)
        assert not told.is_news(State.UNREACHED, GONE)
    assert told.is_news(State.REACHED, None)
    assert told.is_news(State.UNREACHED, LOGIN)


def test_reasons_without_end_are_told_no_more() -> None:
    told = Told()
    assert told.is_news(State.UNREACHED, GONE)
    told_of = sum(told.is_news(State.UNREACHED, PacketError(f"it confirms {n} reports")) for n in range(50))
    assert told_of == MOST_REASONS
