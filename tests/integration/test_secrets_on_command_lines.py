"""What looks like a database's URL, in each place of each command line: no answer repeats its password."""

import argparse
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from poolhouse import subcommands
from poolhouse.attach.run import add_arguments
from poolhouse.console.command import connmon
from poolhouse.daemon.command import app
from support import zygote
from support.planted import DATABASE, planted_in

#: What somebody may type or paste.
FORMS = {
    "a URL": f"postgresql://me:{DATABASE}@db/shop",
    "a part of one": f"me:{DATABASE}@db",
    "not encoded": f"postgresql://me:it's/{DATABASE}@db/shop",
    # What is said is cut to some length, perhaps before the sign by which a password is recognized.
    "a long one": f"postgresql://me:{DATABASE}{'x' * 2000}@db/shop",
    "a conninfo": f"host=db password={DATABASE}",
}
POOLHOUSE = (sys.executable, "-c", "from poolhouse.cli import poolhouse; poolhouse()")
#: Each command, and further words with which it ends soon.
CONNMON = ((sys.executable, "-m", "poolhouse.console"), ("--once", "--timeout", "0"))
CONNMOND = ((sys.executable, "-m", "poolhouse.daemon"), ("--check",))
#: The subcommands, what adds their arguments to a parser, and further words with which they end soon.
SUBCOMMANDS = {name: (prepare, ()) for name, _, prepare in subcommands._COMMANDS}
SUBCOMMANDS["run"] = (add_arguments, ("--", "no-such-command"))
SUBCOMMANDS["doctor"] = (SUBCOMMANDS["doctor"][0], ("--timeout", "0"))


def answer(*command: str) -> str:
    done = zygote.run(command, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL)
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    return done.stdout + done.stderr


def options_of(command: click.Command) -> Iterator[str]:
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            yield from parameter.opts


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize(("command", "its"), [(connmon, CONNMON), (app, CONNMOND)], ids=["connmon", "connmond"])
def test_connmon_and_connmond_repeat_no_password(
    command: click.Command, its: tuple[tuple[str, ...], ...], form: str
):
    start, end = its
    places = [[option, form] for option in options_of(command)]
    places += [[form], [form, form], ["listen", form], [f"--{form}"], [f"--version={form}"]]
    assert len(places) > 20
    shown = {" ".join(words).replace(form, "URL"): answer(*start, *words, *end) for words in places}
    assert not planted_in(shown)
    assert all(shown.values())
    assert "…" in shown["URL"]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_the_subcommands_of_poolhouse_repeat_no_password(name: str, form: str):
    prepare, end = SUBCOMMANDS[name]
    parser = argparse.ArgumentParser()
    prepare(parser)
    places = [[option, form] for action in parser._actions for option in action.option_strings]
    places += [[form], [form, form], [f"--{form}"]]
    shown = {" ".join(words).replace(form, "URL"): answer(*POOLHOUSE, name, *words, *end) for words in places}
    assert not planted_in(shown)
    assert all(shown.values())


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_what_stands_in_the_place_of_a_subcommand_is_repeated_without_password(form: str):
    demo = (sys.executable, "-m", "poolhouse.demo")
    commands = {"word": (*POOLHOUSE, form), "option": (*POOLHOUSE, f"--{form}"), "demo": (*demo, form)}
    shown = {place: answer(*command) for place, command in commands.items()}
    assert not planted_in(shown)
    assert all("error: " in text for text in shown.values())
