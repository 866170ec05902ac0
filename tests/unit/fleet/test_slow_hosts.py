import pytest

from poolhouse.fleet.slow_hosts import HeldThere, SlowHosts
from poolhouse.verdicts.causes import STANDS_S

HOSTS = ("web1", "web2", "web3")


class Program:
    """A program on several hosts, each with its own holds."""

    def __init__(self, holds: dict[str, float], sites: int = 2) -> None:
        self.holds = holds
        self.sites = sites
        self.slow = SlowHosts()
        self.sums: dict[tuple[str, str, str], HeldThere] = {}
        self.now = 0.0

    def live(self, seconds: float, a_second: int = 10, only: int | None = None) -> None:
        """Each host returns so many connections a second at each line."""
        for _ in range(round(seconds / 2)):
            self.now += 2
            for host, hold in self.holds.items():
                for number in range(self.sites):
                    key = "shop", host, f"app.py:{number} in f"
                    site_hold = hold if only in (None, number) else 0.1
                    returned, held = self.sums.get(key, HeldThere(0, 0.0))
                    self.sums[key] = HeldThere(returned + 2 * a_second, held + 2 * a_second * site_hold)
            self.take()

    def take(self) -> None:
        self.slow.take(self.sums, dict.fromkeys([("shop", host) for host in self.holds], 2), self.now, self.now)


def test_the_host_whose_lines_hold_much_longer_is_named() -> None:
    program = Program({"web1": 0.1, "web2": 0.12, "web3": 0.5})
    program.live(8)
    (verdict,) = program.slow.verdicts()
    assert (verdict.cause, verdict.program, verdict.hosts, verdict.processes) == (
        "slow_host", "shop", ("web3",), (2, 6),
    )  # fmt: skip
    assert verdict.number("hold_s") == pytest.approx(0.5)
    assert verdict.number("others_s") == pytest.approx(0.11)
    assert verdict.culprit is not None


@pytest.mark.parametrize(
    "holds",
    [
        {"web1": 0.1, "web2": 0.5},  # Of two, nobody knows which is odd.
        {"web1": 0.1, "web2": 0.1, "web3": 0.25},  # Not three times as long.
        {"web1": 0.1, "web2": 0.3, "web3": 0.6},  # The others disagree.
        {"web1": 0.001, "web2": 0.001, "web3": 0.009},  # Too short to matter.
        {"web1": 0.5, "web2": 0.5, "web3": 0.5},
    ],
)
def test_other_hosts_are_none(holds: dict[str, float]) -> None:
    program = Program(holds)
    program.live(20)
    assert program.slow.verdicts() == ()


def test_one_line_of_several_that_is_slow_there_is_not_the_host() -> None:
    program = Program({"web1": 0.1, "web2": 0.1, "web3": 0.9}, sites=4)
    program.live(20, only=1)
    assert program.slow.verdicts() == ()


def test_few_returns_have_no_typical_duration() -> None:
    program = Program(dict(zip(HOSTS, (0.1, 0.1, 0.9), strict=True)))
    program.live(20, a_second=0)
    assert program.slow.verdicts() == ()


def test_it_stands_for_a_while_and_ends() -> None:
    program = Program(dict(zip(HOSTS, (0.1, 0.1, 0.9), strict=True)))
    program.live(8)
    began = program.slow.verdicts()[0].since
    program.holds["web3"] = 0.1
    program.live(6)
    assert program.slow.verdicts()[0].since == began
    program.live(STANDS_S + 6)
    assert program.slow.verdicts() == ()


def test_a_process_that_leaves_takes_its_sums_along_and_shows_nothing() -> None:
    program = Program(dict.fromkeys(HOSTS, 0.1))
    program.live(10)
    program.sums = {key: HeldThere(5, 50.0) for key in program.sums}
    program.now += 2
    program.take()
    assert program.slow.verdicts() == ()
