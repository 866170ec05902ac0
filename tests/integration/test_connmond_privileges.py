"""connmond gives up what it does not need: a user, sockets from systemd, no core dump, files for one user."""

import os
import pwd
import re
import resource
import socket
import stat
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from poolhouse.daemon.given import FIRST, take_given
from poolhouse.errors import SettingError
from support.collectd import Namespace
from support.connmond import COMMAND, Connmond, Watcher, program, sentences
from support.reports import Reporting
from support.waiting import wait_until

#: A user that every Debian has, and that owns nothing.
USER = "daemon"
#: Gives the sockets in argv[1] (name=descriptor, joined by commas) as systemd does, and runs the rest.
AS_SYSTEMD = """
import os, sys
names, descriptors = zip(*(pair.split("=") for pair in sys.argv[1].split(",")))
kept = [os.dup(int(one)) for one in descriptors]
for place, one in enumerate(kept):
    os.dup2(one, 3 + place)
    os.set_inheritable(3 + place, True)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(kept)), "LISTEN_FDNAMES": ":".join(names)}
os.execv(sys.argv[2], sys.argv[2:])
"""


def status(pid: int) -> dict[str, list[str]]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: values.split() for name, _, values in (line.partition(":") for line in lines)}


def configured(folder: Path, *more: str) -> str:
    path = folder / "connmon.cfg"
    path.write_text(
        "\n".join(
            ["[connmon_service_default]", "name: default", "nodes: node1 hostname=127.0.0.1:5800", *more, ""]
        )
    )
    return str(path)


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that every user may enter; pytest's own are for one."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def test_it_becomes_the_user_and_keeps_no_way_back(reachable: Path):
    folder = reachable / "state"
    folder.mkdir()
    user = pwd.getpwnam(USER)
    os.chown(folder, user.pw_uid, user.pw_gid)
    config = configured(reachable, f"csv_dump: {folder}/fleet.csv")
    Path(config).chmod(0o600)
    with (
        Namespace() as namespace,
        namespace.entered(),
        # Root's ports are bound before root is given up.
        Connmond("-c", config, "--user", USER, "--http", "127.0.0.1:80", reports=514, is_executed=True) as daemon,
        Watcher(daemon.consoles) as watcher,
    ):
        assert (daemon.reports, daemon.http) == (514, 80)
        told = status(daemon.process.pid)
        assert told["Uid"] == [str(user.pw_uid)] * 4
        assert told["Gid"] == [str(user.pw_gid)] * 4
        assert set(map(int, told["Groups"])) == set(os.getgrouplist(USER, user.pw_gid))
        assert set(told["CapEff"] + told["CapPrm"]) == {"0" * 16}
        with Reporting("shop", daemon.reports):
            watcher.wait_for(lambda one: program(one, "shop"))
        with urllib.request.urlopen("http://127.0.0.1/healthz", timeout=30) as answer:
            assert answer.read() == b"well\n"
        written = folder / "fleet.csv"
        wait_until(written.exists, what="the CSV file")
        ended, _, errors = daemon.end()
    assert ended == 0
    assert stat.S_IMODE(written.stat().st_mode) & stat.S_IRWXO == 0
    assert written.stat().st_uid == user.pw_uid
    (sentence,) = (one for one in sentences(errors) if "cannot be read by user" in one)
    assert (
        sentence == f"WARNING {config} cannot be read by user 'daemon': a change is not seen before the next start"
    )


@pytest.mark.parametrize(
    ("prefix", "name", "words"),
    [
        ((), "nobody-of-this-name", "--user: there is no user 'nobody-of-this-name'"),
        (("setpriv", "--reuid=daemon", "--clear-groups"), "root", "--user: only root may become 'root'"),
    ],
)
def test_a_user_that_cannot_be_had_is_one_sentence(prefix, name, words):
    command = [*prefix, *COMMAND, "--reports", "127.0.0.1:0", "--consoles", "127.0.0.1:0", "--user", name]
    for more, code in (((), 1), (("--check",), 2)):
        done = subprocess.run([*command, *more], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout) == (code, "")
        assert done.stderr.startswith(f"connmond: {words}")
        assert done.stderr.count("\n") == 1


def test_no_core_dump_is_made_and_as_many_files_as_may_be_are_allowed():
    with Connmond(prefix=("prlimit", "--nofile=256:")) as daemon:
        pid = daemon.process.pid
        assert resource.prlimit(pid, resource.RLIMIT_CORE) == (0, 0)
        assert int(Path(f"/proc/{pid}/coredump_filter").read_text(), 16) == 0
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        assert soft == min(hard, 32_768)


@pytest.mark.parametrize(
    "arguments",
    [
        ("from poolhouse.cli import connmon; connmon()", "connect", "--port", "PORT", "--json"),
        ("from poolhouse.cli import poolhouse; poolhouse()", "doctor", "collectd://127.0.0.1:PORT/"),
    ],
    ids=["connmon", "poolhouse"],
)
def test_the_commands_that_know_a_password_make_no_core_dump(arguments):
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sink:
        sink.bind(("127.0.0.1", 0))
        sink.settimeout(60)
        port = str(sink.getsockname()[1])
        command = [sys.executable, "-c", *(one.replace("PORT", port) for one in arguments)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                assert sink.recv(65_535)
                assert resource.prlimit(process.pid, resource.RLIMIT_CORE) == (0, 0)
                assert int(Path(f"/proc/{process.pid}/coredump_filter").read_text(), 16) == 0
            finally:
                process.kill()


def opened(stack: ExitStack) -> dict[str, socket.socket]:
    """Sockets as a manager opens them."""
    found = {
        name: stack.enter_context(closing(socket.socket(socket.AF_INET, kind)))
        for name, kind in (
            ("reports", socket.SOCK_DGRAM),
            ("consoles", socket.SOCK_DGRAM),
            ("clients", socket.SOCK_STREAM),
            ("http", socket.SOCK_STREAM),
        )
    }
    for sock in found.values():
        sock.bind(("127.0.0.1", 0))
        if sock.type == socket.SOCK_STREAM:
            sock.listen()
        sock.set_inheritable(True)
    return found


def test_sockets_from_systemd_take_the_place_of_the_options():
    with ExitStack() as stack:
        given = opened(stack)
        pairs = ",".join(f"{name}={sock.fileno()}" for name, sock in given.items())
        command = [sys.executable, "-c", AS_SYSTEMD, pairs, *COMMAND]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=[sock.fileno() for sock in given.values()],
        )
        stack.callback(process.communicate)
        stack.callback(process.kill)
        assert process.stdout is not None
        announced = "".join(process.stdout.readline() for _ in range(7))
        ports = {name: sock.getsockname()[1] for name, sock in given.items()}
        assert re.findall(r":(\d+)", announced)[:4] == [str(port) for port in ports.values()]
        environment = f"/proc/{process.pid}/environ"
        assert "LISTEN_FDS" in Path(environment).read_text()  # As it began; os.environ has it no more.
        with Reporting("shop", ports["reports"]), Watcher(ports["consoles"]) as watcher:
            watcher.wait_for(lambda one: program(one, "shop"))


def test_a_socket_that_is_none_of_ours_is_one_sentence():
    with ExitStack() as stack:
        given = opened(stack)
        for name, sock, words in (
            ("web", given["http"], "expected FileDescriptorName=reports, consoles, clients, http, not 'web'"),
            ("reports", given["http"], "reports: expected a bound UDP socket"),
            ("http", given["reports"], "http: expected a TCP socket that listens"),
        ):
            command = [sys.executable, "-c", AS_SYSTEMD, f"{name}={sock.fileno()}", *COMMAND]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, pass_fds=[sock.fileno()])
            assert (done.returncode, done.stdout, done.stderr) == (1, "", f"connmond: LISTEN_FDS: {words}\n")


@pytest.mark.parametrize("environ", [{}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}, {"LISTEN_PID": str(os.getpid())}])
def test_what_was_given_to_another_process_is_not_taken(environ):
    told = dict(environ)
    with ExitStack() as stack:
        assert take_given(stack, told) == {}
    assert told == {}


def test_a_descriptor_that_is_no_socket_is_one_sentence():
    told = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1000", "LISTEN_FDNAMES": "reports"}
    with ExitStack() as stack, pytest.raises(SettingError):
        take_given(stack, told | {"LISTEN_FDNAMES": "http:" * (FIRST + 900)})
