"""What connmond is told: where to listen, and whom to serve."""

from dataclasses import dataclass

from poolhouse.addresses import parse_address
from poolhouse.defaults import CONSOLES_PORT, REPORTS_PORT
from poolhouse.feed.protocol.subscribers import Network, parse_network


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set; what is not set means this machine only."""

    #: Hosts and ports; a name stands for every address that it has.
    reports: tuple[tuple[str, int], ...] = (("localhost", REPORTS_PORT),)
    consoles: tuple[tuple[str, int], ...] = (("localhost", CONSOLES_PORT),)
    #: Where consoles may be, besides this machine.
    allow: tuple[Network, ...] = ()


def parse_settings(reports: list[str], consoles: list[str], allow: list[str]) -> Settings:
    """Settings as they are typed; an empty list means the default.

    Raises:
        SettingError: If one of them is none; it names the option.
    """
    default = Settings()
    return Settings(
        tuple(parse_address(text, REPORTS_PORT, "--reports") for text in reports) or default.reports,
        tuple(parse_address(text, CONSOLES_PORT, "--consoles") for text in consoles) or default.consoles,
        tuple(parse_network(text, "--allow") for text in allow),
    )
