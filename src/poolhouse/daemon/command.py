"""The command ``connmond``."""

import asyncio
import sys
from collections.abc import Sequence
from functools import partial

import click
from click.exceptions import Exit

from poolhouse.admission.door import Door, open_door
from poolhouse.click_command import Command, version_option
from poolhouse.configuration.files import DEFAULT_PATH
from poolhouse.configuration.service import DEFAULT_SERVICE, LOG_FORMATS, OFF
from poolhouse.daemon.cautions import missing_login, only_here, open_to_all
from poolhouse.daemon.log import complain
from poolhouse.daemon.otlp_sender import prepare
from poolhouse.daemon.ports import taken
from poolhouse.daemon.privileges import find_user, groups_of
from poolhouse.daemon.reports import room_words
from poolhouse.daemon.serve import context_of, serve
from poolhouse.daemon.settings import described, parse_settings
from poolhouse.defaults import CONSOLES_PORT, HTTP_PORT, REPORTS_PORT
from poolhouse.errors import SettingError
from poolhouse.stdio import write
from poolhouse.wire.seal import LEVELS


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--reports",
    multiple=True,
    metavar="HOST[:PORT]",
    help=f"Receive reports here. Repeatable; port {REPORTS_PORT} if none is named.",
)
@click.option(
    "--consoles",
    multiple=True,
    metavar="HOST[:PORT]",
    help=f"Serve consoles here. Repeatable; port {CONSOLES_PORT} if none is named.",
)
@click.option(
    "--allow",
    multiple=True,
    metavar="NETWORK",
    help="Serve consoles of this network too, such as 10.0.0.0/8. Repeatable.",
)
@click.option("--config", "-c", metavar="FILE", help=f"Read this configuration, not {DEFAULT_PATH}.")
@click.option(
    "--service",
    "-s",
    metavar="NAME",
    default=DEFAULT_SERVICE,
    show_default=True,
    help="The service of the configuration.",
)
@click.option("--node", "-n", metavar="NAME", help="The node of the service; needed if it has several.")
@click.option(
    "--bind",
    multiple=True,
    metavar="HOST[:PORT]",
    help=f"Listen here for clients over TCP, whatever the configuration says; {OFF}: nowhere. Repeatable.",
)
@click.option(
    "--http",
    multiple=True,
    metavar="HOST[:PORT]",
    help=f"Serve HTTP here, for Prometheus and others; {OFF}: nowhere. Repeatable; 127.0.0.1:{HTTP_PORT} if not "
    "given.",
)
@click.option(
    "--log-format",
    metavar="|".join(LOG_FORMATS),
    help="Log in lines of text or of JSON, whatever the configuration says.",
)
@click.option(
    "--memory",
    metavar="SIZE",
    help="Memory for the fleet, such as 256M; 1G if not given. What does not fit is refused and counted.",
)
@click.option(
    "--authfile", metavar="FILE", help="Users and passwords of signed and encrypted reports: collectd's AuthFile."
)
@click.option("--securitylevel", metavar="|".join(LEVELS), help="Refuse reports over UDP that are less than this.")
@click.option(
    "--strict/--no-strict",
    default=None,
    help="Refuse what is encrypted without a signature inside, as collectd sends it: it can be forged.",
)
@click.option(
    "--otlp",
    metavar="URL",
    help="Push metrics to this collector of OpenTelemetry, such as http://collector:4318; "
    f"{OFF}: to none. The environment variables OTEL_EXPORTER_OTLP_... hold too.",
)
@click.option(
    "--user", metavar="NAME", help="Become this user once the ports are open, with its groups and no others."
)
@click.option("--check", is_flag=True, help="Say what would happen, or what is wrong, and end.")
@version_option("connmond")
def app(
    reports: Sequence[str],
    consoles: Sequence[str],
    allow: Sequence[str],
    config: str | None,
    service: str,
    node: str | None,
    bind: Sequence[str],
    http: Sequence[str],
    log_format: str | None,
    memory: str | None,
    authfile: str | None,
    securitylevel: str | None,
    strict: bool | None,
    otlp: str | None,
    user: str | None,
    check: bool,
) -> None:
    """Receive the reports of database connection pools and show them to consoles (connmon).

    Without options, UDP serves this machine only, and TCP is as the configuration says.
    """
    read = partial(
        parse_settings,
        list(reports),
        list(consoles),
        list(allow),
        config,
        service,
        node,
        list(bind) or None,
        log_format,
        memory,
        list(http) or None,
        authfile,
        securitylevel,
        strict,
        otlp,
    )
    try:
        settings = read()
        door: Door | None = None
        groups: list[str] = []
        if check:
            context_of(settings)
            if settings.otlp is not None:
                prepare(settings.otlp)
            door = open_door(settings.demand)
            if user is not None:
                groups = groups_of(find_user(user))
    except SettingError as error:
        complain(str(error), log_format)
        raise Exit(2) from None
    if check:
        warnings = [
            *(door.warnings if door else ()),
            missing_login(settings, settings.bind),
            open_to_all(settings, settings.http),
            only_here(settings),
            *taken((*settings.reports, *settings.consoles), (*settings.bind, *settings.http)),
        ]
        more = [f"user           {user}, of {', '.join(groups)}"] if user is not None else []
        more += [f"buffer         {room_words()}", *(f"warning        {one}" for one in warnings if one)]
        write("\n".join([described(settings), *more, ""]), sys.stdout)
        return
    try:
        asyncio.run(serve(settings, read, user))
    except SettingError as error:
        complain(str(error), settings.log_format)
        raise Exit(1) from None
