"""`poolhouse demo` from an installed wheel, in an environment with nothing but what the demo needs."""

import subprocess
import sys
import zipfile
from pathlib import Path
from subprocess import DEVNULL, PIPE

from support.installs import Environment, build_wheel

#: What only the tests and the tools need; the demo's environment has none of it.
TOOLS = ("pytest", "hypothesis", "mypy", "pyright", "ruff", "gevent", "psycopg", "asyncpg")


def test_the_demo_runs_from_an_installed_wheel(tmp_path: Path) -> None:
    wheel = build_wheel(tmp_path)
    with zipfile.ZipFile(wheel) as archive:  # What Prometheus and Grafana are given.
        files = {"poolhouse/export/prometheus_rules.yml", "poolhouse/export/grafana_dashboard.json"}
        assert files <= set(archive.namelist())
    environment = Environment(tmp_path / "environment", "poolhouse[demo]")
    # What its extra asks for is there already, or pip would say that there is none.
    environment.run(f"pip install --quiet --no-index '{wheel}[demo]'", tmp_path)

    command = [environment.commands / "poolhouse", "demo"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment.variables, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, text=True
    ) as demo:
        missing = {"checkout", "billing", "orders"}
        assert demo.stdout is not None
        for line in demo.stdout:
            missing -= set(line.split())
            if not missing:
                break
        demo.terminate()
        _, errors = demo.communicate(timeout=60)
    assert (missing, demo.returncode, errors) == (set(), 0, "")
    tools = f"import importlib.util as u; print([name for name in {TOOLS!r} if u.find_spec(name)])"
    assert environment.run(f'python -c "{tools}"', tmp_path) == "[]\n"


def test_without_what_it_needs_it_says_what_to_install() -> None:
    blocked = "import sys; sys.modules['sqlalchemy'] = None; from poolhouse.cli import poolhouse; poolhouse()"
    result = subprocess.run(
        [sys.executable, "-c", blocked, "demo"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == ("poolhouse demo needs sqlalchemy: pip install '.[demo]' in a checkout of poolhouse\n")
