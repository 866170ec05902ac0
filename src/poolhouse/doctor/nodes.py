"""Asks each node of a service whether it accepts the application's reports."""

import random
import time
from collections.abc import Iterator

from poolhouse.clock import Clock
from poolhouse.configuration.service import Service
from poolhouse.doctor.finding import Finding, Verdict
from poolhouse.report.destination import Destination
from poolhouse.report.route import State
from poolhouse.report.sockets import SystemNetwork
from poolhouse.report.tcp import GLANCE_S, TcpSender

#: The name of this program in the nodes' logs.
PRODUCT = "poolhouse-doctor"


def look_at_nodes(service: Service, destination: Destination, clock: Clock) -> Iterator[Finding]:
    """Introduce this process to each node as the application does.

    Args:
        service: The service that the application reports to.
        destination: The settings with which the application reports to it.
        clock: The source of time.
    """
    for node in service.nodes:
        error = _introduce(service._replace(nodes=(node,)), destination.interval, clock)
        if error is None:
            yield Finding(Verdict.FINE, "node", f"{node.address} takes reports")
        else:
            remedy = "Start connmond there, or correct the service's configuration."
            yield Finding(Verdict.WRONG, "node", f"{node.address} takes no reports: {error}.\n{remedy}")


def _introduce(service: Service, interval: float, clock: Clock) -> Exception | None:
    """Why a service with a single node does not welcome this process; ``None`` if it does."""
    network = SystemNetwork()
    sender = TcpSender(service, PRODUCT, interval, network, clock, random.random)
    route = sender.route
    route.begin_lookup(clock.monotonic())
    try:
        route.found(network.look_up(route.host, route.port), clock.monotonic())
        while True:
            sender.step(clock.monotonic())
            if sender.is_ready:
                return None
            if sender.state is State.UNREACHED:
                return sender.error
            time.sleep(GLANCE_S)
    except (OSError, UnicodeError) as error:
        return error
    finally:
        sender.close()
