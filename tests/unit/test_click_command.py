"""What connmon and connmond have in common as commands of Click."""

import click
import pytest
from click.testing import CliRunner

from poolhouse.click_command import INTERRUPTED, Command, version_option
from poolhouse.feed.product import product


@click.command(cls=Command)
@click.option("--number", type=int)
@version_option("connmond")
def command(number: int | None) -> None:
    raise click.BadParameter(f"\x1b{number}: postgresql://me:s3cret@db/shop", param_hint="--number")


def refused(*words: str) -> str:
    result = CliRunner().invoke(command, words)
    assert result.exit_code == 2
    usage, hint, _, error = result.stderr.splitlines()
    assert (usage, hint) == ("Usage: command [OPTIONS]", "Try 'command --help' for help.")
    return error


def test_an_error_of_click_repeats_no_password():
    assert refused("me:s3cret@db") == "Error: Got unexpected extra argument (me:…@db)"
    assert refused("--number", "me:s3cret@db") == (
        "Error: Invalid value for '--number': 'me:…@db' is not a valid integer."
    )


def test_an_error_of_the_command_repeats_no_password():
    assert refused("--number", "7") == "Error: Invalid value for --number: ·7: postgresql://me:…@db/shop"


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("words", [(), ("--early", "x")])
def test_an_interrupt_ends_it_without_a_word_while_it_reads_its_options_too(words: tuple[str, ...]):
    option = click.Option(
        ["--early"], callback=lambda _, __, value: interrupt() if value else None, expose_value=False
    )
    result = CliRunner().invoke(Command("command", callback=interrupt, params=[option]), words)
    assert (result.exit_code, result.output) == (INTERRUPTED, "")


def test_the_version_needs_no_other_option():
    result = CliRunner().invoke(command, ["--version"])
    assert (result.exit_code, result.output) == (0, f"{product('connmond')}\n")
