"""The nodes of a machine: which CPUs sit on each, and where its memory is.

    [[node]] cpus = "0-1"  memory = ["0x0-0x9ffff", "0x100000-0x3fffffff"]
    [[node]] cpus = "2-3"  memory_mib = 1024      begins where the node before it ends

The first [[node]] is node 0. A node may lack CPUs or memory, but not both: Linux would not know
of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from kernel_sim.alignment import align_up
from kernel_sim.arch import Arch
from kernel_sim.config_table import ConfigTable, parse_address, shown
from kernel_sim.errors import ConfigError
from kernel_sim.mm.page import PAGE_SIZE_BYTES
from kernel_sim.mm.phys_range import PhysRange
from kernel_sim.topology import NR_NODES_MAX, format_cpu_list

NODE_KEYS = ("cpus", "memory", "memory_mib")
NODE_RANGES_MAX = 128  # as many as a firmware map without extensions can list (E820_MAX_ENTRIES)
MEMORY_MIB_MAX = 1 << 32


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """A node: its possible CPUs, and its memory in ascending ranges that do not touch others'."""

    cpus: tuple[int, ...]
    memory: tuple[PhysRange, ...]

    @property
    def nr_pages(self) -> int:
        """Whole pages of the node."""
        return sum(memory.nr_pages for memory in self.memory)

    def to_mapping(self) -> dict[str, object]:
        """Return the node as builtin types, memory always as ranges."""
        return {
            "cpus": format_cpu_list(self.cpus),
            "memory": [str(memory) for memory in self.memory],
        }


def read_nodes(top: ConfigTable, possible: tuple[int, ...]) -> tuple[NodeConfig, ...]:
    """Return the nodes of [[node]]; a machine's only node has all CPUs without being told so.

    Raises: ConfigError if a possible CPU is on no node or on two, or another CPU on any.
    """
    entries = top.sequence("node", entries_max=NR_NODES_MAX) if top.has("node") else ()
    if not entries:
        raise top.error("node", "missing; expected at least one [[node]] with memory")
    nodes: list[NodeConfig] = []
    node_of_cpu: dict[int, int | None] = dict.fromkeys(possible)
    end = 0
    for number, entry in enumerate(entries):
        table = ConfigTable(top.where, f"[[node]] {number}", entry, NODE_KEYS)
        is_only = len(entries) == 1 and not table.has("cpus")
        cpus = possible if is_only else table.cpu_list("cpus", "")
        for cpu in cpus:
            if cpu not in node_of_cpu:
                raise table.error("cpus", f"CPU {cpu} is not possible; expected CPUs of [cpus]")
            other = node_of_cpu[cpu]
            if other is not None:
                raise table.error("cpus", f"CPU {cpu} is on node {other}; expected one node a CPU")
            node_of_cpu[cpu] = number
        memory = _read_memory(table, end)
        if not cpus and not memory:
            raise table.error("memory", "missing, and no CPUs; expected a node to have either")
        end = max([end, *(r.last + 1 for r in memory)])
        nodes.append(NodeConfig(cpus, memory))
    homeless = format_cpu_list(cpu for cpu, node in node_of_cpu.items() if node is None)
    if homeless:
        raise top.error("[[node]] cpus", f"CPU {homeless} on no node; expected each on one")
    return tuple(nodes)


def check_memory(where: str, nodes: Sequence[NodeConfig], *, arch: Arch) -> None:
    """Refuse memory that overlaps, is out of reach, or is not there at all.

    Raises: ConfigError.
    """
    ranges = sorted((r, number) for number, node in enumerate(nodes) for r in node.memory)
    if not ranges:
        raise ConfigError(f"{where}: [[node]] memory: none on any node; expected some")
    for (low, low_node), (high, high_node) in pairwise(ranges):
        if low.overlaps(high):
            raise ConfigError(
                f"{where}: [[node]] {high_node} memory: {high} overlaps {low} of node {low_node}; "
                "expected ranges apart"
            )
    highest, node = max(ranges, key=lambda pair: pair[0].last)
    limit = 1 << arch.phys_bits
    if highest.last >= limit:
        raise ConfigError(
            f"{where}: [[node]] {node} memory: {highest}; expected addresses below {limit:#x}, all "
            f"that {arch.page_table_levels} page-table levels can map"
        )


def _read_memory(table: ConfigTable, end: int) -> tuple[PhysRange, ...]:
    """Return the node's ranges, ascending; end is where the memory of the nodes before it ends."""
    if table.has("memory_mib"):
        if table.has("memory"):
            raise table.error("memory_mib", "beside memory; expected one of them")
        size_bytes = table.integer("memory_mib", lowest=0, highest=MEMORY_MIB_MAX) << 20
        start = align_up(end, PAGE_SIZE_BYTES)
        return (PhysRange(start, start + size_bytes - 1),) if size_bytes else ()
    if not table.has("memory"):
        return ()
    entries = table.sequence("memory", entries_max=NODE_RANGES_MAX)
    return tuple(sorted(_read_range(table, entry) for entry in entries))


def _read_range(table: ConfigTable, entry: object) -> PhysRange:
    expected = 'expected first and last byte such as "0x100000-0x3fffffff"'
    if not isinstance(entry, str):
        raise table.error("memory", f"{shown(entry)}; {expected}")
    start_text, _, last_text = entry.partition("-")
    start, last = parse_address(start_text.strip()), parse_address(last_text.strip())
    if start is None or last is None or last < start:
        raise table.error("memory", f"{shown(entry)}; {expected}")
    memory = PhysRange(start, last)
    if not memory.nr_pages:
        raise table.error("memory", f"{shown(entry)} holds no whole page; {expected}")
    return memory
