"""The command ``connmond``."""

import asyncio
import gc
import signal
from contextlib import ExitStack
from typing import Annotated

import typer

from poolhouse.daemon.ports import open_ports
from poolhouse.daemon.server import Daemon
from poolhouse.daemon.settings import Settings, parse_settings
from poolhouse.defaults import CONSOLES_PORT, REPORTS_PORT
from poolhouse.errors import SettingError
from poolhouse.feed.product import product

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,  # What goes wrong is read in a service's log.
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(product("connmond"))
        raise typer.Exit


@app.command()
def connmond(
    reports: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST[:PORT]", help=f"Receive reports here. Repeatable; port {REPORTS_PORT} if none is named."
        ),
    ] = None,
    consoles: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST[:PORT]", help=f"Serve consoles here. Repeatable; port {CONSOLES_PORT} if none is named."
        ),
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NETWORK", help="Serve consoles of this network too, such as 10.0.0.0/8. Repeatable."
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Receive the reports of database connection pools and show them to consoles (connmon).

    Without options it serves this machine only.
    """
    try:
        settings = parse_settings(reports or [], consoles or [], allow or [])
    except SettingError as error:
        typer.echo(f"connmond: {error}", err=True)
        raise typer.Exit(2) from None
    try:
        asyncio.run(_serve(settings))
    except SettingError as error:
        typer.echo(f"connmond: {error}", err=True)
        raise typer.Exit(1) from None


def _collect_garbage_seldom() -> None:
    """A large fleet is many objects that live long: looking through them for garbage is a part of the work.

    10,000 processes: 37 µs a datagram with Python's thresholds, 33 with these, 30 without any collection.
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


async def _serve(settings: Settings) -> None:
    _collect_garbage_seldom()
    end = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, end.set)
    with ExitStack() as stack:
        reports = open_ports(settings.reports, "--reports", stack)
        consoles = open_ports(settings.consoles, "--consoles", stack)
        daemon = Daemon(reports, consoles, settings.allow)
        typer.echo(daemon.announcement())
        await daemon.run(end)
        typer.echo(daemon.farewell())
