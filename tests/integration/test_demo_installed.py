"""`poolhouse demo` from an installed wheel, in an environment with nothing but what the demo needs."""

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from subprocess import DEVNULL, PIPE

ROOT = Path(__file__).parents[2]
#: What only the tests and the tools need; the demo's environment has none of it.
TOOLS = ("pytest", "hypothesis", "mypy", "pyright", "ruff", "gevent", "psycopg", "asyncpg")


def run(command: list[str], cwd: Path, **options: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=400, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done


def test_the_demo_runs_from_an_installed_wheel(tmp_path: Path) -> None:
    checkout, environment = tmp_path / "checkout", tmp_path / "environment"
    shutil.copytree(ROOT / "src", checkout / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout)
    run([sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(tmp_path), str(checkout)], tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:  # What Prometheus and Grafana are given.
        files = {"poolhouse/export/prometheus_rules.yml", "poolhouse/export/grafana_dashboard.json"}
        assert files <= set(archive.namelist())
    shutil.rmtree(checkout)
    venv.create(environment, with_pip=True)
    python = str(environment / "bin" / "python")
    settings = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_COMPILE": "1", "PYTHONPATH": ""}
    constraints = str(ROOT / "constraints.txt")
    run([python, "-m", "pip", "install", "-q", "-c", constraints, f"{wheel}[demo]"], tmp_path, env=settings)

    command = [str(environment / "bin" / "poolhouse"), "demo"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=settings, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, text=True
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
    assert run([python, "-c", tools], tmp_path, env=settings).stdout == "[]\n"


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
