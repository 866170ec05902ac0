import pytest

from poolhouse.collectd_plugin.log import DEBUG_LINES, QUIET, Log
from support.fake_collectd import FakeCollectd


class HeldClock:
    """A clock that stands where the test puts it."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def wall_time(self) -> float:
        return 1_700_000_000.0 + self.now


@pytest.fixture
def collectd():
    return FakeCollectd()


@pytest.fixture
def clock():
    return HeldClock()


@pytest.fixture
def log(collectd, clock):
    return Log(collectd, "poolhouse server", clock)


def say_everything(log: Log) -> None:
    for say in (log.error, log.warning, log.info, log.debug):
        say("x")


@pytest.mark.parametrize(
    ("level", "severities"),
    [
        ("error", ["error"]),
        ("warning", ["error", "warning"]),
        ("notice", ["error", "warning"]),
        ("info", ["error", "warning", "info"]),
        # Debian's collectd drops its own level debug.
        ("debug", ["error", "warning", "info", "info"]),
    ],
)
def test_what_is_less_important_than_the_level_is_not_written(log, collectd, level, severities):
    log.level = level
    say_everything(log)
    assert collectd.lines == [(severity, "poolhouse server: x") for severity in severities]


def test_a_repeated_warning_is_written_once_a_minute_with_the_number_left_out(log, collectd, clock):
    """Trap 23."""
    for _ in range(1000):
        log.seldom("refused", "datagram refused")
    clock.now += QUIET
    log.seldom("refused", "datagram refused")
    assert collectd.logged("warning") == [
        "poolhouse server: datagram refused",
        "poolhouse server: datagram refused (999 more like it before)",
    ]


def test_one_kind_of_warning_does_not_silence_another(log, collectd):
    log.seldom("a", "first")
    log.seldom("b", "second")
    assert len(collectd.logged("warning")) == 2


def test_lines_of_level_debug_are_bounded_and_what_is_left_out_is_counted(log, collectd, clock):
    """Trap 22."""
    log.level = "debug"
    for _ in range(DEBUG_LINES + 7):
        log.debug("x")
    assert len(collectd.lines) == DEBUG_LINES
    clock.now += 1
    log.debug("y")
    assert [line for _, line in collectd.lines[DEBUG_LINES:]] == [
        "poolhouse server: 7 lines left out",
        "poolhouse server: y",
    ]


@pytest.mark.parametrize("name", ["error", "warning", "info", "debug"])
def test_no_line_has_a_password(log, collectd, name):
    log.level = "debug"
    getattr(log, name)(f"cannot listen on postgresql://me:s3cret{'x' * 2000}@db/shop")
    (line,) = collectd.logged("info" if name == "debug" else name)
    assert line == "poolhouse server: cannot listen on postgresql://me:…@db/shop"
