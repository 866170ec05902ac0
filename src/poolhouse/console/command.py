"""The command ``connmon``."""

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from functools import partial
from math import isnan
from typing import Any, NoReturn

import click
from click.exceptions import Exit

from poolhouse.clean import clean
from poolhouse.click_command import Command, version_option
from poolhouse.clock import SystemClock
from poolhouse.complaints import complain
from poolhouse.configuration.files import DEFAULT_PATH
from poolhouse.configuration.service import DEFAULT_SERVICE
from poolhouse.console import feed_of, run
from poolhouse.console.dump import dump, why_over
from poolhouse.console.login import ask_login, can_ask, read_password
from poolhouse.console.once import ABSENT_PATIENCE_S, PATIENCE_S, wait_for_snapshot, why_nothing
from poolhouse.console.target import Options, Target, choose_target
from poolhouse.console.terminal import is_dumb, why_no_window
from poolhouse.defaults import CONSOLES_PORT, SERVICE_PORT
from poolhouse.errors import SettingError
from poolhouse.feed.link import Link
from poolhouse.feed.udp import Mode
from poolhouse.fleet.snapshot import Snapshot
from poolhouse.installing import install_command
from poolhouse.stdio import write
from poolhouse.views import plain
from poolhouse.views.as_json import json_line, json_text
from poolhouse.views.failing import Check, Condition, parse_conditions
from poolhouse.views.line import Line, Span, Tone, text_of

#: The width of a line, in cells, if there is no terminal to ask.
_PLAIN_WIDTH = 100
#: The most characters printed of a span: ``COLUMNS`` may have any value.
_LONGEST_SPAN = 10_000
#: Seconds in a year, which still fits into 32 bits of milliseconds and 64 of nanoseconds.
LONGEST_TIMEOUT = 31_536_000.0
#: Exit statuses other than 0.
FAILED, WRONG_USE, HOLDS = 1, 2, 3
#: How often the user is asked for a login.
_MOST_QUESTIONS = 3

_DEMAND = "it demands a login: name the service's configuration (--config), or a --user and a --password-file"

_STYLES: dict[Tone, dict[str, Any]] = {
    "plain": {},
    "strong": {"bold": True},
    "dim": {"dim": True},
    "accent": {"fg": "cyan"},
    "good": {"fg": "green"},
    "bad": {"fg": "red", "bold": True},
}

#: How the console gets its data, unless it chooses itself; and how that is written in the usage.
_WAYS: tuple[Mode, ...] = ("listen", "connect")
_WAY = "|".join(_WAYS)
_WAY_HELP = (
    "Use UDP: listen binds the port, for what collectd's plugin pushes (monitor); connect asks a connmond or "
    "collectd. If neither word is given, connmon asks a service over TCP."
)


class _Command(Command):
    """A command whose help explains its argument."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Explain the argument before the options."""
        with formatter.section("Arguments"):
            formatter.write_dl([(f"[{_WAY}]", _WAY_HELP)])
        super().format_options(ctx, formatter)


class _Port(click.IntRange):
    name = "port"


class _Seconds(click.FloatRange):
    name = "number of seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        seconds = super().convert(value, param, ctx)
        if isnan(seconds):
            self.fail(f"{value!r} is not a valid {self.name}.", param, ctx)
        return seconds


def _way(_: click.Context, __: click.Parameter, word: str | None) -> Mode | None:
    for way in _WAYS:
        if word == way:
            return way
    if word is None:
        return None
    raise click.BadParameter(
        f"{word!r} is neither listen nor connect; a host needs its option: connmon -H {word}",
        param_hint=f"'{_WAY}'",
    )


@click.command(
    cls=_Command,
    # Click accepts further words, so that the command itself can say what they lack.
    context_settings={"help_option_names": ["-h", "--help"], "allow_extra_args": True},
)
@click.argument("way", required=False, callback=_way, metavar=f"[{_WAY}]")
@click.option(
    "--host",
    "-H",
    metavar="HOST[:PORT]",
    help=f"Ask this node over TCP, at port {SERVICE_PORT} if none is named; over UDP if nothing answers. "
    f"With listen, connect or --port: the host for UDP, at port {CONSOLES_PORT}. Excludes -s and -n.",
)
@click.option(
    "--port",
    metavar="PORT",
    type=_Port(1, 65535),
    help=f"Use UDP, and this port ({CONSOLES_PORT}); bind it if it is free on this machine.",
)
@click.option("--config", "-c", metavar="FILE", help=f"Read this configuration, not {DEFAULT_PATH}.")
@click.option("--service", "-s", metavar="NAME", help=f"The service of the configuration ({DEFAULT_SERVICE}).")
@click.option("--node", "-n", metavar="NAME", help="Ask this node of the service only.")
@click.option("--user", "-u", metavar="NAME", help="Log in as this user, not the configuration's.")
@click.option(
    "--password",
    "-p",
    metavar="PASSWORD",
    help="The user's password. Everybody on this machine can read it in the list of processes: name a "
    "--password-file, or leave it out to be asked.",
)
@click.option("--password-file", metavar="FILE", help="The file whose first line is the password.")
@click.option(
    "--security",
    metavar="sign|encrypt",
    help="What --user and the password are for over UDP; encrypt if not given.",
)
@click.option("--once", is_flag=True, help="Print a table as plain text, and end.")
@click.option("--json", "as_json", is_flag=True, help="Print all numbers as JSON, and end.")
@click.option(
    "--dump-only",
    is_flag=True,
    help="Print all numbers as JSON, a line a second, until the connection is lost; then status 1.",
)
@click.option("--program", metavar="NAME", help="The program whose processes and pools are shown.")
@click.option(
    "--timeout",
    type=_Seconds(0.0, LONGEST_TIMEOUT),
    metavar="SECONDS",
    help="How long --once, --json and --dump-only wait for the first numbers; then status 1. "
    f"If not given, {PATIENCE_S:g}, and {ABSENT_PATIENCE_S:g} where nothing listens.",
)
@click.option(
    "--fail-on",
    multiple=True,
    metavar="CONDITION",
    help="With --once or --json: status 3 if it holds. saturated; alarm, notice or a verdict's cause; or "
    "a number: used>90%, oldest>60s, waiting>5, timeouts>0, connect_errors>0. With :30s, if it holds for "
    "so long. Several are separated by commas.",
)
@version_option("connmon")
@click.pass_context
def connmon(
    context: click.Context,
    way: Mode | None,
    host: str | None,
    port: int | None,
    config: str | None,
    service: str | None,
    node: str | None,
    user: str | None,
    password: str | None,
    password_file: str | None,
    security: str | None,
    once: bool,
    as_json: bool,
    dump_only: bool,
    program: str | None,
    timeout: float | None,
    fail_on: Sequence[str],
) -> None:
    """Watch the database connection pools of a fleet, live.

    In the window, ? explains every column and key.
    """
    if context.args and way is not None:
        raise click.BadParameter(f"a host needs its option: connmon {way} -H {context.args[0]}")
    if fail_on and not (once or as_json):
        raise click.BadParameter("only with --once or --json", param_hint="--fail-on")
    try:
        conditions = parse_conditions(",".join(fail_on)) if fail_on else ()
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--fail-on") from None
    if dump_only and (once or as_json):
        raise click.BadParameter("does not end by itself; leave out --once and --json", param_hint="--dump-only")
    if password is not None and password_file is not None:
        raise click.BadParameter("--password is given too", param_hint="--password-file")
    try:
        if password_file is not None:
            password = read_password(password_file)
        target = choose_target(Options(way, host, port, config, service, node, user, password, security))
    except SettingError as error:
        _fail(str(error), WRONG_USE)
    if target.warning:
        complain("connmon", target.warning)
    show = partial(_print_once, timeout=timeout, program=program, as_json=as_json, conditions=conditions)
    if dump_only:
        show = partial(_dump, timeout=timeout, program=program)
    elif not (once or as_json):
        show = partial(_show_window, program=program)
    try:
        _with_login(target, show)
    except SettingError as error:
        _fail(str(error))


def _with_login(target: Target, show: Callable[[Target, bool], Link | None]) -> None:
    """Show the target; if a login is demanded and none was given, ask for it and show again.

    The second argument of `show` is whether a login can be asked for; it returns the link that needs one.
    """
    may_ask = can_ask() and (target.service is None or target.service.login is None)
    user, reason = target.user, ""
    for _ in range(_MOST_QUESTIONS):
        if target.user is not None or reason:
            login = ask_login(user, reason) if may_ask else None
            if login is None:
                _fail(reason or f"the password of {user} is needed: name a --password-file")
            user, target = login.user, target.with_login(login)
        refusal = show(target, may_ask)
        if refusal is None:
            return
        reason = f"{refusal.address}: {_DEMAND if refusal.login == 'missing' else refusal.error}"
        if not may_ask:
            break
    _fail(reason)


def _print_once(
    target: Target,
    may_ask: bool,
    *,
    timeout: float | None,
    program: str | None,
    as_json: bool,
    conditions: tuple[Condition, ...],
) -> Link | None:
    check = Check(conditions, program)
    outcome = wait_for_snapshot(feed_of(target), target.address, timeout, SystemClock(), program, check)
    if outcome.link.login:
        return outcome.link
    if outcome.snapshot is None:
        _fail(why_nothing(outcome.link, outcome.waited, outcome.newest, program))
    if outcome.link.note:
        complain("connmon", outcome.link.note)
    _print(json_text(outcome.snapshot) if as_json else _table(outcome.snapshot, program))
    if check.failed:
        complain("connmon", f"--fail-on: {', '.join(check.failed)}")
        raise Exit(HOLDS)
    return None


def _dump(target: Target, may_ask: bool, *, timeout: float | None, program: str | None) -> Link | None:
    link = dump(
        feed_of(target), target.address, timeout, SystemClock(), lambda one: _print(json_line(one)), program
    )
    if link.login and link.heard_at is None:
        return link
    _fail(why_over(link, timeout))


def _table(snapshot: Snapshot, program: str | None) -> str:
    width = shutil.get_terminal_size((_PLAIN_WIDTH, 24)).columns
    form = _styled if _has_colours() else text_of
    return "".join(f"{form(_clean_line(line))}\n" for line in plain.lines(snapshot, width, program=program))


def _clean_line(line: Line) -> Line:
    return tuple(Span(clean(span.text, _LONGEST_SPAN), span.tone) for span in line)


def _styled(line: Line) -> str:
    return "".join(
        click.style(span.text, **_STYLES[span.tone]) if span.tone != "plain" else span.text for span in line
    )


def _print(text: str) -> None:
    """Write to standard output, with ``?`` for what it cannot encode.

    Raises:
        OSError: If the text cannot be written.
    """
    write(text, sys.stdout)


def _has_colours() -> bool:
    """Whether the output is a terminal with colours, and the user wants them (no-color.org)."""
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    return is_terminal and not os.environ.get("NO_COLOR") and not is_dumb()


def _show_window(target: Target, may_ask: bool, *, program: str | None) -> Link | None:
    if (reason := why_no_window()) is not None:
        _fail(reason)
    try:
        return run(target, program=program, can_ask=may_ask)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("textual", "rich"):
            raise
        _fail(f"the window needs {error.name}: {install_command('console')}; --once and --json do without")


def _fail(sentence: str, status: int = FAILED) -> NoReturn:
    complain("connmon", sentence)
    raise Exit(status)
