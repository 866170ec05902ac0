"""Whose code a frame runs, where its module's name alone does not say."""

import sysconfig
from types import CodeType

import pytest

from poolhouse.sites.modules import Kind, Modules

SITE_PACKAGES = sysconfig.get_paths()["purelib"]


def code_in(file: str) -> CodeType:
    return compile("pass", file, "exec")


@pytest.mark.parametrize(
    "program", ["/srv/app/job.py", "<ipython-input-3-0a1b2c>", "/tmp/ipykernel_12/3456.py", "<stdin>"]
)
@pytest.mark.parametrize("is_program_first", [True, False])
def test_a_program_and_the_command_that_runs_it_are_both_main(program: str, is_program_first: bool) -> None:
    """As in notebooks, and as `runpy.run_path(…, run_name="__main__")` has it."""
    modules, names = Modules(), {"__name__": "__main__"}
    expected = {
        program: Kind.APPLICATION,
        "/opt/venv/bin/gunicorn": Kind.LIBRARY,
        f"{SITE_PACKAGES}/ipykernel_launcher.py": Kind.LIBRARY,
    }
    files = list(expected) if is_program_first else [*expected][::-1]
    assert {file: modules.kind(code_in(file), names) for file in files} == expected


@pytest.mark.parametrize("generated", ["<string>", "<attrs generated init httpx.Timeout>"])
def test_code_that_a_library_generates_is_the_library_s(generated: str) -> None:
    """Whichever of its frames is seen first: the kind of a module is remembered."""
    file = f"{SITE_PACKAGES}/httpx/_config.py"
    modules, names = Modules(), {"__name__": "httpx._config", "__file__": file}
    assert modules.kind(code_in(generated), names) is Kind.LIBRARY
    assert modules.kind(code_in(file), names) is Kind.LIBRARY


def test_code_that_an_application_generates_is_the_application_s() -> None:
    modules, names = Modules(), {"__name__": "shop.models", "__file__": "/srv/shop/models.py"}
    assert modules.kind(code_in("<string>"), names) is Kind.APPLICATION


def test_code_in_an_archive_is_the_application_s() -> None:
    assert Modules().kind(code_in("/srv/shop.pyz/shop/views.py"), {"__name__": "shop.views"}) is Kind.APPLICATION
