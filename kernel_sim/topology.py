"""Which CPUs and nodes there are, who sits where, and how far apart.

    possible  0 1 2 3 4 5 6 7     every CPU that may ever come; each has a unit in every chunk
    present   0 1 2 3 4 5 - -     plugged in
    online    0 1 2 3 - - - -     running
    node      0 0 0 0 1 1 1 1     fixed for possible CPUs, online or not

Distances are those of the firmware's SLIT: 10 within a node, more between nodes, not always
symmetric. CPU lists are written as the kernel writes them in /sys/devices/system/cpu: "0-3,8".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kernel_sim.errors import ConfigError

LOCAL_DISTANCE = 10
REMOTE_DISTANCE = 20
NUMA_NO_NODE = -1
NR_CPUS_MAX = 8192  # CONFIG_MAXSMP of x86-64
NR_NODES_MAX = 1024  # CONFIG_NODES_SHIFT=10


def parse_cpu_list(text: str, *, nr_cpus_max: int = NR_CPUS_MAX) -> tuple[int, ...]:
    """Return the CPUs of a list such as "0-3,8", ascending; the empty text is no CPU.

    Raises: ConfigError, naming the piece that is wrong, for anything else, for a CPU named twice
    and for one that is not below nr_cpus_max.
    """
    if not text.strip():
        return ()
    cpus: dict[int, None] = {}
    for piece in text.split(","):
        first, last = _parse_range(piece.strip(), text)
        if last >= nr_cpus_max:
            raise ConfigError(f"{text!r}: CPU {last}; expected CPUs below {nr_cpus_max}")
        for cpu in range(first, last + 1):
            if cpu in cpus:
                raise ConfigError(f"{text!r}: CPU {cpu} twice; expected every CPU once")
            cpus[cpu] = None
    return tuple(sorted(cpus))


def _parse_range(piece: str, text: str) -> tuple[int, int]:
    first_text, dash, last_text = piece.partition("-")
    if not dash:
        last_text = first_text
    for number in (first_text, last_text):
        # The length limit keeps a stranger's text from costing more than reading it.
        if not (number.isascii() and number.isdigit() and len(number) <= 9):
            raise ConfigError(f'{text!r}: {piece!r} is no CPU; expected a list such as "0-3,8"')
    first, last = int(first_text), int(last_text)
    if first > last:
        raise ConfigError(f'{text!r}: {piece!r} goes down; expected "{last}-{first}"')
    return first, last


def format_cpu_list(cpus: Iterable[int]) -> str:
    """Return the list as the kernel prints it: ascending, neighbours joined to "first-last"."""
    ranges: list[tuple[int, int]] = []
    for cpu in sorted(cpus):
        if ranges and cpu == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], cpu)
        else:
            ranges.append((cpu, cpu))
    return ",".join(f"{a}-{b}" if b > a else f"{a}" for a, b in ranges)


@dataclass(frozen=True, slots=True)
class Topology:
    """CPUs and nodes of a machine; nothing in it ever changes.

    possible, present and online are ascending; online is what runs when boot is over. node_of_cpu
    has nr_cpu_ids entries, NUMA_NO_NODE for a number that is not a possible CPU. distances[a][b]
    is the distance from node a to node b. nodes are the node numbers, 0 upwards.
    """

    possible: tuple[int, ...]
    present: tuple[int, ...]
    online: tuple[int, ...]
    node_of_cpu: tuple[int, ...]
    distances: tuple[tuple[int, ...], ...]
    nodes: tuple[int, ...]

    @property
    def nr_cpu_ids(self) -> int:
        """One more than the highest possible CPU: the length of every per-CPU array."""
        return self.possible[-1] + 1

    @property
    def nr_node_ids(self) -> int:
        """One more than the highest node."""
        return self.nodes[-1] + 1

    def cpus_of_node(self, node: int) -> tuple[int, ...]:
        """Return the possible CPUs of a node, ascending."""
        return tuple(cpu for cpu in self.possible if self.node_of_cpu[cpu] == node)

    def distance(self, cpu_a: int, cpu_b: int) -> int:
        """Return how far cpu_b's node is from cpu_a's; both CPUs must be possible."""
        return self.distances[self.node_of_cpu[cpu_a]][self.node_of_cpu[cpu_b]]

    def nodes_by_distance(self, node: int) -> tuple[int, ...]:
        """Return all nodes, the node itself first, then nearest first; ties by number."""
        row = self.distances[node]
        return tuple(sorted(self.nodes, key=lambda other: (other != node, row[other], other)))


def default_distances(nr_nodes: int) -> tuple[tuple[int, ...], ...]:
    """Return the distances of a machine whose firmware has no SLIT."""
    return tuple(
        tuple(LOCAL_DISTANCE if a == b else REMOTE_DISTANCE for b in range(nr_nodes))
        for a in range(nr_nodes)
    )
