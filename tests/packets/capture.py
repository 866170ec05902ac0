"""Capture what a real collectd sends; run it to write the captured packets anew.

PYTHONPATH=tests python -m packets.capture
"""

import subprocess
import tempfile
from pathlib import Path

from packets.known_values import NOTIFICATIONS, VALUES
from support.collectd import Collectd, udp_socket
from support.waiting import wait_until

FOLDER = Path(__file__).parent
FILE = FOLDER / "collectd-5.12.0.hex"

_CONFIG = """\
WriteThreads 1
LoadPlugin network
<Plugin network>
    <Server "127.0.0.1" "{port}">
        {seal}
    </Server>
</Plugin>
"""


def capture(folder: Path, seal: str = "") -> list[bytes]:
    """The packets that the collectd of this machine makes of `known_values`: notifications first.

    Args:
        folder: Where collectd lives meanwhile.
        seal: Lines of its ``<Server>`` block that say how to sign or encrypt them.
    """
    with udp_socket() as receiver:
        config = _CONFIG.format(port=receiver.getsockname()[1], seal=seal)
        with Collectd(folder, 'Import "known_values"', more=config, sources=FOLDER) as collectd:
            notifications = [receiver.recv(2000) for _ in NOTIFICATIONS]
            packets = []
            # The last packet leaves when collectd ends; it ends without what its writers have not got to.
            wait_until(lambda: len(collectd.written()) == len(VALUES), what="all values in collectd's csv files")
        receiver.setblocking(False)
        try:
            while True:
                packets.append(receiver.recv(2000))
        except BlockingIOError:
            return notifications + packets


def read_packets(file: Path = FILE) -> list[bytes]:
    """The packets of a file: one a line in hexadecimal, beside comments."""
    return [bytes.fromhex(line) for line in file.read_text().splitlines() if not line.startswith("#")]


def main() -> None:
    """Write `FILE` anew."""
    package = subprocess.run(
        ["dpkg-query", "--show", "collectd-core"], capture_output=True, text=True, check=True
    ).stdout.split()
    with tempfile.TemporaryDirectory() as folder:
        packets = capture(Path(folder))
    lines = [
        f"# Sent by the network plugin of Debian's {' '.join(package)}, security level None,",
        "# told by its python plugin with known_values.py; one datagram a line, as captured by capture.py.",
        *(packet.hex() for packet in packets),
    ]
    FILE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
