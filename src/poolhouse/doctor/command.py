"""The command ``poolhouse doctor``."""

import argparse
import sys
from collections.abc import Iterator

from poolhouse.addresses import LARGEST_PORT
from poolhouse.clock import SystemClock
from poolhouse.complaints import complain
from poolhouse.defaults import CONSOLES_PORT
from poolhouse.doctor.address import Address, address_of, look_at_parameters
from poolhouse.doctor.attachment import look_at_itself, look_at_process
from poolhouse.doctor.environment import look_at_environment
from poolhouse.doctor.finding import STATUS, Finding, Verdict
from poolhouse.doctor.nodes import look_at_nodes
from poolhouse.doctor.probe import probe
from poolhouse.errors import SettingError
from poolhouse.report.destination import NAMELESS
from poolhouse.stdio import write

DESCRIPTION = """\
Why do I see nothing? Looks at what is installed, looks up where reports go, sends one, and asks whether
it arrived. Run it with the application's own Python, on the application's machine.
"""
EPILOG = """\
status  0  everything is fine and the report was seen
        1  something is wrong
        2  the arguments are wrong
        3  nothing is wrong, but whether the report arrived cannot be confirmed from here
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that `examine` takes."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "url",
        nargs="?",
        metavar="URL",
        help="a database URL with plugin=collectd or plugin=connmon, or collectd://host:port/ "
        "(default: POOLHOUSE_REPORT)",
    )
    parser.add_argument(
        "--pid",
        type=int,
        metavar="PID",
        help="a process of the application that runs: by which way is it attached?",
    )
    parser.add_argument(
        "--consoles",
        type=port,
        default=CONSOLES_PORT,
        metavar="PORT",
        help="the aggregator's port for consoles (default: %(default)s)",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=12.0,
        metavar="SECONDS",
        help="how long to wait for the report to be seen (default: %(default)g; collectd sends values every 10)",
    )


def port(text: str) -> int:
    """A port number for argparse, which turns a `ValueError` into a sentence."""
    number = int(text)
    if not 0 < number <= LARGEST_PORT:
        raise ValueError(text)
    return number


def examine(arguments: argparse.Namespace) -> int:
    """Print each finding as it is made; returns the exit status."""
    try:
        address = address_of(arguments.url)
    except SettingError as error:
        complain("poolhouse doctor", str(error))
        return 2
    worst = Verdict.FINE
    for finding in _findings(address, arguments.pid, arguments.consoles, arguments.timeout):
        write(f"{finding}\n", sys.stdout)
        worst = max(worst, finding.verdict)
    return STATUS[worst]


def _findings(address: Address, pid: int | None, consoles_port: int, timeout: float) -> Iterator[Finding]:
    destination, service = address.destination, address.destination.service
    yield from look_at_environment()
    if pid is None:
        yield from look_at_itself()
    else:
        yield look_at_process(pid)
    yield from look_at_parameters(address)
    text = f"{'UDP' if service is None else 'TCP'} {destination.address}, as host {destination.report_host}"
    if destination.protection is not None:
        text += f", {destination.protection.security}ed as user {destination.protection.username}"
    if destination.report_host == NAMELESS:
        text += "\nThis machine has no host name; set collectd_report_host, or report_host in POOLHOUSE_REPORT."
    yield Finding(Verdict.FINE, "destination", text)
    if service is not None:
        yield from look_at_nodes(service, destination, SystemClock())
        return
    for host in destination.hosts:
        yield from probe(destination.replace(host=host), consoles_port, timeout, SystemClock())
