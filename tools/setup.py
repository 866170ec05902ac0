"""Prepare this checkout: the virtual environment and, for the tests, the services from Debian.

Runs on a bare Debian 12: Python 3.11's standard library only, no pip, no package lists. What is missing is
installed by root; anybody else is told in one sentence what to install.

    python3 tools/setup.py environment     .venv with poolhouse, its extras and the tools
    python3 tools/setup.py demo [OPTION…]  run the demo, from .venv if it is there, else from a small .venv-demo
    python3 tools/setup.py services        collectd, MariaDB, Prometheus and what the tests need beside them
"""

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
DEMO_VENV = ROOT / ".venv-demo"
CONSTRAINTS = ROOT / "constraints.txt"

#: What must exist after the installation -> the Debian package that brings it.
SERVICES = {
    "/usr/sbin/collectd": "collectd-core",
    "/usr/lib/collectd/python.so": "collectd-core",
    "/usr/lib/x86_64-linux-gnu/libpython3.11.so.1.0": "libpython3.11",
    # Our plugin in collectd decrypts with it.
    "/usr/lib/python3/dist-packages/cryptography/__init__.py": "python3-cryptography",
    "/usr/sbin/ip": "iproute2",
    # Steps the clock of a process.
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1": "libfaketime",
    "/usr/sbin/mariadbd": "mariadb-server-core",
    # The broker of RQ.
    "/usr/bin/redis-server": "redis-server",
    # It scrapes connmond; the same package has promtool.
    "/usr/bin/prometheus": "prometheus",
    # The page is looked at in a real browser.
    "/usr/bin/chromium": "chromium",
    "/usr/bin/chromedriver": "chromium-driver",
    # For systemd-analyze, which looks at the example of a unit; no service of it runs.
    "/usr/bin/systemd-analyze": "systemd",
}

#: dpkg asks this program whether it may start a service; 101 means no.
POLICY = Path("/usr/sbin/policy-rc.d")


def apt_install(packages: list[str], purpose: str) -> None:
    """Install Debian packages without starting a service, or end with the sentence that says what to install."""
    names = " ".join(packages)
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        sys.exit(f"For {purpose}, first run as root: apt-get install {names}")
    print(f"installing {names} ({purpose})", flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    ours = not POLICY.exists()
    if ours:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
            run(["apt-get", "--quiet", *arguments], env=environment)
    finally:
        if ours:
            POLICY.unlink()


def run(command: list[str], **options: object) -> None:
    """Run a command; on failure show what it printed and end."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
    )
    if done.returncode:
        sys.exit(f"{done.stdout}\n'{' '.join(command)}' failed with status {done.returncode}.")


def environment() -> None:
    """Bring .venv up to date with pyproject.toml and constraints.txt."""
    wanted = fingerprint()
    if not is_ready(VENV, wanted):
        names = ("lint", "test", "frameworks", "fuzz", "launchers", "bench")
        groups = [part for name in names for part in ("--group", name)]
        make(VENV, wanted, ["--editable", f"{ROOT}[all]", *groups])


def demo() -> None:
    """Become the demo, in an environment that has what it needs; the tests' tools are no part of that."""
    wanted = fingerprint()
    folder = VENV if is_ready(VENV, wanted) else DEMO_VENV
    if not is_ready(folder, wanted):
        make(folder, wanted, ["--editable", f"{ROOT}[demo]"])
    python = str(folder / "bin" / "python")
    os.execv(python, [python, "-m", "poolhouse.demo", *sys.argv[2:]])


def is_ready(folder: Path, wanted: str) -> bool:
    """Whether an environment was made from what is wanted now."""
    stamp = folder / ".ready"
    return stamp.exists() and stamp.read_text() == wanted and (folder / "bin" / "python").exists()


def make(folder: Path, wanted: str, what: list[str]) -> None:
    """Make an environment anew, and note what it was made from."""
    # Not the environment's own Python, which is about to be removed.
    create_venv(folder, os.path.realpath(sys.executable))
    install(folder, CONSTRAINTS, what)
    (folder / ".ready").write_text(wanted)


def fingerprint() -> str:
    """What an environment is made from; settings of the tools are not among it."""
    if sys.version_info < (3, 11):
        sys.exit(f"poolhouse needs Python 3.11 or newer; {sys.executable} is {sys.version.split()[0]}.")
    import tomllib  # Since 3.11: after the sentence that says so.

    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = pyproject["project"]
    parts = (
        pyproject["build-system"],
        {
            key: project.get(key)
            for key in ("version", "dependencies", "optional-dependencies", "scripts", "entry-points")
        },
        pyproject["dependency-groups"],
        CONSTRAINTS.read_text(),
        sys.version,
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def create_venv(folder: Path, python: str) -> None:
    """Make a virtual environment whose pip is the pinned one."""
    if os.path.realpath(python) == os.path.realpath(sys.executable) and find_spec("ensurepip") is None:
        apt_install(["python3-venv"], "a virtual environment")
    shutil.rmtree(folder, ignore_errors=True)
    print(f"creating {folder.name} with {python}", flush=True)
    run([python, "-m", "venv", str(folder)])
    # pip reads dependency groups from 25.1 on; the one that Debian's python3-venv brings is older.
    run([str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "-c", str(CONSTRAINTS), "pip"])


def install(folder: Path, constraints: Path, what: list[str]) -> None:
    """Install packages into a virtual environment, pinned by a constraints file."""
    print(f"installing packages into {folder.name}", flush=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-warn-script-location"]
    run([*pip, "-c", str(constraints), *what], cwd=ROOT)


def services() -> None:
    """Install the servers of `SERVICES` without starting one, now or at the next boot."""
    missing = sorted({package for path, package in SERVICES.items() if not located(path)})
    if not missing:
        return
    apt_install(missing, "the tests on real servers")
    for package, service in (("collectd-core", "collectd"), ("prometheus", "prometheus")):
        if package in missing:
            run(["update-rc.d", service, "disable"])


def located(path: str) -> bool:
    """Whether a file is there; a library is looked for in this machine's multiarch folder."""
    multiarch = sysconfig.get_config_var("MULTIARCH") or "x86_64-linux-gnu"
    return Path(path.replace("x86_64-linux-gnu", multiarch)).exists()


if __name__ == "__main__":
    {"environment": environment, "services": services, "demo": demo}[sys.argv[1]]()
