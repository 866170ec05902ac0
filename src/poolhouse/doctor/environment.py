"""Findings about this Python: whose plugin and modules it would load, and which SQLAlchemy."""

from collections.abc import Iterator

from poolhouse.doctor.finding import Finding, Verdict
from poolhouse.installing import reinstall_command
from poolhouse.instrumentation.installation import OURS, Installation, look, version_problem

REINSTALL = reinstall_command()


def look_at_environment() -> Iterator[Finding]:
    """One finding for each thing that decides what runs here."""
    found = look()
    yield _plugin(found)
    yield _module(found)
    yield _sqlalchemy(found.sqlalchemy)


def _plugin(found: Installation) -> Finding:
    """The plugin that ``plugin=collectd`` in a URL loads."""
    if found.plugin is None:
        return Finding(Verdict.WRONG, "plugin", f"no installed package has a plugin collectd: {REINSTALL}")
    text = f"plugin=collectd loads {found.plugin}"
    if found.advice is not None:
        return Finding(Verdict.WRONG, "plugin", f"{text}\n{found.advice}")
    is_ours = found.plugin.split()[0] == OURS
    return Finding(Verdict.FINE if is_ours else Verdict.WRONG, "plugin", text)


def _sqlalchemy(version: str | None) -> Finding:
    """Whether ``create_engine`` would refuse to measure with this SQLAlchemy."""
    if version is None:
        text = "not installed here: run this with the application's own Python"
        return Finding(Verdict.UNKNOWN, "SQLAlchemy", text)
    problem = version_problem(version)
    return Finding(Verdict.FINE if problem is None else Verdict.WRONG, "SQLAlchemy", problem or version)


def _module(found: Installation) -> Finding:
    """The modules that collectd's configuration imports."""
    if found.module is None:
        return Finding(Verdict.WRONG, "module", f"sqlalchemy_collectd is not there: {REINSTALL}")
    verdict = Verdict.FINE if found.module == OURS else Verdict.WRONG
    return Finding(verdict, "module", f"sqlalchemy_collectd is that of {found.module}")
