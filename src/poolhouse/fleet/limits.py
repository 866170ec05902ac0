"""The limits of a fleet, so that no sender can make the aggregator grow without bound."""

from typing import NamedTuple


class FleetLimits(NamedTuple):
    """The limits of a `Fleet`: anything beyond them is refused and counted under the limit's name."""

    #: Bytes of everything below together, living and remembered: without this, the other limits would multiply.
    bytes: int = 1 << 30
    hosts: int = 1_000
    programs: int = 1_000
    #: Living processes; a process under two program names counts twice.
    processes: int = 20_000
    #: Pools of one process: those of a report, and those that ended within the last five reports.
    pools: int = 140
    #: Silent processes whose counters are remembered, and as many programs and hosts; the oldest is forgotten.
    remembered: int = 20_000
    #: The most characters of a host's, program's or token's name.
    name_length: int = 128
    #: The most events that are kept.
    events: int = 200
    #: Seconds for which processes and rows that are gone are remembered.
    memory: float = 86_400.0
    #: Seconds for which a process that said goodbye is remembered: as long as its datagrams may be on their way.
    ended_memory: float = 60.0
    #: Ended pools of one process that are kept separately for other nodes; 0 without other nodes.
    ended_pools: int = 0
    #: Bytes, beside the above, that distinguish forgotten processes from new ones (`poolhouse.fleet.forgotten`).
    forgotten_bytes: int = 1 << 20

    def for_cluster(self) -> "FleetLimits":
        """The same for a node among others, which must also tell them about what has ended."""
        # Another node may have counted and forgotten a process that this one has never heard of.
        return self._replace(ended_memory=self.memory, ended_pools=64, forgotten_bytes=0)
