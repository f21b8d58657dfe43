"""A machine for a log that does not tell its machine: large enough to hold what the log shows.

The number of CPUs follows from bytes_alloc; where the first chunk begins, how large static and reserved
part are and how far a unit reaches follow from addresses and offsets, if they are real. The rest is a
plain PC. A log on such a machine is observed, never predicted.
"""

from __future__ import annotations

from kernel_sim.alignment import align_up
from kernel_sim.arch import ARCHES
from kernel_sim.percpu.unit_layout import build_alloc_info
from snapshots.errors import TraceError
from snapshots.logs.trace_log import TraceLog, possible_cpus_from

STATIC_BYTES = 217088
RESERVED_BYTES = 8192
DYNAMIC_BYTES = 28672
ATOM_BYTES = 2 << 20
NODE_MIB = 4096
PHYS_MAX = 1 << 45
CPUS_MAX = 4096


def guess_mapping(log: TraceLog, base: int | None) -> dict[str, object]:
    """Return a machine, as a TOML would hold it, on which the log can be shown."""
    seen = max((event.cpu for event in log.events if event.cpu is not None), default=0) + 1
    try:
        counted = possible_cpus_from(log.events, nr_online=log.nr_cpus or seen)
    except TraceError:
        counted = None
    nr_cpus = min(max(counted or log.nr_cpus or seen, seen), CPUS_MAX)
    furthest = max((event.off + event.size for event in log.events), default=0)
    nr_nodes = _nodes_for(nr_cpus, furthest)
    return {
        "name": "guessed",
        "cpus": {"possible": f"0-{nr_cpus - 1}" if nr_cpus > 1 else "0"},
        "node": [
            {"cpus": _cpus_of(node, nr_cpus, nr_nodes), "memory_mib": _memory_mib(base)}
            for node in range(nr_nodes)
        ],
        "tlb": {"profile": "none"},
        "percpu": {"static_bytes": STATIC_BYTES, "reserved_bytes": RESERVED_BYTES},
        "work": {"mode": "scripted"},
    }


def _nodes_for(nr_cpus: int, furthest: int) -> int:
    """Return how many nodes make the units large enough: fewer CPUs to a group, larger units."""
    for nr_nodes in range(1, nr_cpus + 1):
        per_node = -(-nr_cpus // nr_nodes)
        info = build_alloc_info(
            static_size_bytes=STATIC_BYTES, reserved_size_bytes=RESERVED_BYTES,
            dyn_size_bytes=DYNAMIC_BYTES, atom_size_bytes=ATOM_BYTES, cpus=range(nr_cpus),
            node_of=[cpu // per_node for cpu in range(nr_cpus)].__getitem__,
        )  # fmt: skip
        if info.unit_size_bytes >= furthest:
            return -(-nr_cpus // per_node)
    return nr_cpus


def _cpus_of(node: int, nr_cpus: int, nr_nodes: int) -> str:
    per_node = -(-nr_cpus // nr_nodes)
    first, last = node * per_node, min((node + 1) * per_node, nr_cpus) - 1
    return f"{first}-{last}" if last > first else str(first)


def _memory_mib(base: int | None) -> int:
    """Return memory that reaches beyond the first chunk, if its address is one of the direct map."""
    phys = (base or 0) - ARCHES["x86-64", 4].direct_map_addr
    if base is None or not 0 <= phys < PHYS_MAX:
        return NODE_MIB
    return max(NODE_MIB, align_up(phys + (64 << 20), 1 << 30) >> 20)
