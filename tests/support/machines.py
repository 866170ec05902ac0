"""Several machines on one Ethernet, each a network namespace of this one; a cable can be pulled."""

import contextlib
import subprocess
from collections.abc import Iterator

from support.collectd import Namespace


class Ethernet:
    """A switch, and the machines that are plugged into it.

    Attributes:
        machines: By address.
    """

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses
        self._switch = Namespace()
        self.machines: dict[str, Namespace] = {}

    @contextlib.contextmanager
    def plugged(self) -> Iterator["Ethernet"]:
        """All machines can reach each other."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._switch)
            self._do(self._switch, "ip link add br0 type bridge", "ip link set br0 up")
            for place, address in enumerate(self._addresses):
                machine = self.machines[address] = stack.enter_context(Namespace())
                process = machine.prefix[-1].partition("=")[2]
                self._do(
                    self._switch,
                    f"ip link add port{place} type veth peer name eth0 netns {process}",
                    f"ip link set port{place} master br0 up",
                )
                self._do(machine, f"ip address add {address}/24 dev eth0", "ip link set eth0 up")
            yield self

    def pull(self, address: str) -> None:
        """The machine's cable is pulled; its network card notices nothing."""
        self._do(self._switch, f"ip link set port{self._addresses.index(address)} nomaster")

    def plug(self, address: str) -> None:
        """The cable is put back."""
        self._do(self._switch, f"ip link set port{self._addresses.index(address)} master br0")

    @staticmethod
    def _do(where: Namespace, *commands: str) -> None:
        for command in commands:
            subprocess.run([*where.prefix, *command.split()], check=True, timeout=30)
