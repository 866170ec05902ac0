"""Warnings about settings that are valid, but may not be intended."""

from collections.abc import Sequence

from poolhouse.addresses import format_address, is_loopback
from poolhouse.daemon.settings import Settings


def missing_login(settings: Settings, bound: Sequence[tuple[str, int]]) -> str | None:
    """The warning that clients from anywhere may connect; ``None`` if there is no reason for it.

    Args:
        settings: The settings.
        bound: The addresses at which the node listens over TCP.
    """
    places = _reached_from_elsewhere(bound)
    if not places or settings.service.login is not None:
        return None
    and_watch = "" if settings.allow else " and watch"
    return (
        f"everybody who reaches TCP {places} may report{and_watch}: set use_auth in the configuration, "
        "or --bind to an address that only your programs reach"
    )


def open_to_all(settings: Settings, bound: Sequence[tuple[str, int]]) -> str | None:
    """The warning that anyone may read over HTTP; ``None`` if there is no reason for it.

    Args:
        settings: The settings.
        bound: The addresses at which HTTP is served.
    """
    places = _reached_from_elsewhere(bound)
    if not places or settings.service.login is not None or settings.allow:
        return None
    return (
        f"everybody who reaches HTTP {places} may watch: set use_auth in the configuration, --allow a "
        "network, or serve at an address that only your monitoring reaches"
    )


def only_here(settings: Settings) -> str | None:
    """The warning about a collector that other nodes may not know; ``None`` if there is no reason for it.

    Args:
        settings: The settings.
    """
    service = settings.service
    if settings.otlp is None or len(service.nodes) == 1 or service.otlp:
        return None
    return (
        f"only the first node of service {service.name} that is up pushes metrics: "
        "name the collector by otlp in the configuration, so that every node knows it"
    )


def at_next_start(running: Settings, new: Settings, *, has_tls: bool) -> list[str]:
    """The sentences about what differs from how the node runs, and holds from the next start on only.

    Args:
        running: The settings with which it was started.
        new: Those that were read now.
        has_tls: Whether the node listens with TLS.
    """
    found: list[str] = []
    if (new.bind, new.node, new.service.certificate is not None) != (running.bind, running.node, has_tls):
        found.append("where the node listens, and whether with TLS, changes at the next start only")
    if new.http != running.http:
        found.append("where HTTP is served changes at the next start only")
    if new.service.nodes != running.service.nodes:
        found.append("the nodes of the service change at the next start only")
    return found


def _reached_from_elsewhere(bound: Sequence[tuple[str, int]]) -> str:
    return ", ".join(format_address(*one) for one in bound if not is_loopback(one[0]))
