"""What this Python would load: whose plugin, whose modules, which SQLAlchemy."""

from collections.abc import Iterator
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from importlib.util import find_spec

from poolhouse.doctor.finding import Finding, Verdict
from poolhouse.instrumentation.installation import advice, earlier_version

#: SQLAlchemy's group of plugins, and the name that stands in URLs.
GROUP, NAME = "sqlalchemy.plugins", "collectd"
#: The package that existing configurations of collectd import.
MODULE = "sqlalchemy_collectd"


def look_at_environment() -> Iterator[Finding]:
    """One finding for each thing that decides what runs here."""
    earlier = earlier_version()
    yield _plugin(list(entry_points(group=GROUP, name=NAME)), earlier)
    yield _module(earlier)
    yield _sqlalchemy()


def _plugin(found: list[EntryPoint], earlier: str | None) -> Finding:
    """SQLAlchemy loads the first entry point of the name."""
    if not found:
        return Finding(
            Verdict.WRONG, "plugin", "no installed package has a plugin collectd: pip install poolhouse"
        )
    first = found[0]
    owner = f"{first.dist.name} {first.dist.version}" if first.dist else first.value
    text = f"plugin=collectd loads {first.value} of {owner}"
    if earlier is not None:
        return Finding(Verdict.WRONG, "plugin", f"{text}\n{advice(earlier)}")
    is_ours = first.value.startswith("poolhouse.")
    return Finding(Verdict.FINE if is_ours else Verdict.WRONG, "plugin", text)


def _module(earlier: str | None) -> Finding:
    """The name counts inside collectd only, but who overwrote it has overwritten the plugin's modules too."""
    spec = find_spec(MODULE)
    if spec is None:
        return Finding(Verdict.WRONG, "module", f"{MODULE} is not there; {_reinstall()}")
    verdict = Verdict.FINE if earlier is None else Verdict.WRONG
    return Finding(verdict, "module", f"{MODULE} is {spec.origin or 'a folder without code'}")


def _reinstall() -> str:
    return "reinstall poolhouse: pip install --force-reinstall --no-deps poolhouse"


def _sqlalchemy() -> Finding:
    try:
        return Finding(Verdict.FINE, "SQLAlchemy", version("sqlalchemy"))
    except PackageNotFoundError:
        text = "not installed here: run this with the application's own Python"
        return Finding(Verdict.UNKNOWN, "SQLAlchemy", text)
