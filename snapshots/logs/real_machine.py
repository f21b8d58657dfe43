"""A real machine as a description from which the same machine can be simulated.

    dmesg ──────── NR_CPUS, sizes of a unit, memory of each node ───▶ [kernel] [percpu] [[node]]
    sys/ ───────── CPUs, their nodes, distances ────────────────────▶ [cpus] [[node]] [numa]
    kallsyms ───── offsets of the static per-CPU variables ─────────▶ [symbols]
    dmesg ──────── what the firmware said of memory ────────────────▶ [memory] map
    states ─────── where the groups of the first chunk lie ─────────▶ [percpu] group_phys

The mapping is what a machine's TOML file would hold; work is scripted, because the log decides
when it ran.
"""

from __future__ import annotations

from kernel_sim.alignment import align_up
from kernel_sim.arch import ARCHES
from kernel_sim.mm.page import PAGE_SIZE_BYTES
from kernel_sim.proc.boot_memory import E820_KINDS
from kernel_sim.topology import LOCAL_DISTANCE, REMOTE_DISTANCE, format_cpu_list
from snapshots.errors import InputError
from snapshots.logs.dmesg import BootLog, PercpuSetup
from snapshots.logs.machine_folder import RealMachine, find_companions, read_machine_folder
from snapshots.proc.files import CpuLists

__all__ = ["RealMachine", "find_companions", "machine_mapping", "read_machine_folder"]

KNOWN_VERSIONS = ("6.1", "6.12")
DYNAMIC_ASKED_BYTES = 28 << 10  # PERCPU_DYNAMIC_RESERVE on 64-bit machines
EMBED_ATOM_BYTES = 2 << 20
DIRECT_MAPS = {  # by levels of page tables: where it starts without KASLR, and the limit of it
    4: (ARCHES["x86-64", 4].direct_map_addr, 0xFFFFC88000000000),
    5: (ARCHES["x86-64", 5].direct_map_addr, 0xFF91000000000000),
}
FIVE_LEVELS_END = 0xFFD2000000000000  # everything of a 5-level kernel's data lies below
IMAGE_START = 0xFFFFFFFF81000000  # of the kernel, without KASLR


def machine_mapping(
    real: RealMachine, *, version: str | None = None, pcpu_base_addr: int | None = None
) -> dict[str, object]:
    """Return the machine as plain data, to be read by MachineConfig.from_mapping().

    version overrules the release that was recorded. pcpu_base_addr, as a trace gives it, stands in
    for states where the first chunk has one group.
    Raises: InputError if something needed is missing or contradicts itself.
    """
    boot = real.boot
    if boot is None:
        raise InputError(
            f"{real.folder}: no kernel log; expected dmesg.txt with 'percpu: Embedded …'"
        )
    if boot.setup is None:
        raise boot.missing("percpu: Embedded … pages/cpu s… r… d… u…")
    cpus = real.cpus or _cpus_by_log(boot)
    mapping: dict[str, object] = {
        "name": real.folder.resolve().name or "machine",
        "kernel": {
            "version": version or _known_version(real),
            "nr_cpus": _built_nr_cpus(boot),
            "page_table_levels": _levels(real, pcpu_base_addr),
        },
        "cpus": {name: format_cpu_list(numbers) for name, numbers in cpus._asdict().items()},
        "node": _nodes(real, boot, cpus),
        "memory": {"map": _firmware_map(boot)},
        "tlb": {"profile": "none"},  # a log says nothing of them
        "percpu": {
            "system": "bitmap",
            "backend": "vm",
            **_percpu_sizes(boot.setup, boot.atom_bytes),
        },
        "work": {"mode": "scripted"},
        "symbols": _symbols(real),
    }
    if real.nodes:
        nodes = mapping["node"]
        assert isinstance(nodes, list)
        mapping["numa"] = {"distances": _distances(real, len(nodes))}
    group_phys = _group_phys(real, boot, pcpu_base_addr)
    if group_phys and boot.setup.first_chunk == "embed":
        percpu = mapping["percpu"]
        assert isinstance(percpu, dict)
        percpu["group_phys"] = [f"{addr:#x}" for addr in group_phys]
    return mapping


def _firmware_map(boot: BootLog) -> list[str]:
    """Return what the firmware said of memory, under the names of /proc/iomem."""
    names = {kind: name for name, kind in E820_KINDS.items()}
    return [
        f"{place.start:#x}-{place.last:#x} {names.get(kind, kind)}"
        for place, kind in sorted(boot.firmware)
    ]


def _known_version(real: RealMachine) -> str:
    if real.version not in KNOWN_VERSIONS:
        raise InputError(
            f"{real.folder}: kernel {real.release or 'of unknown release'}; expected "
            f"{' or '.join(KNOWN_VERSIONS)} in version or dmesg.txt, or the version to take it for"
        )
    return real.version


def _built_nr_cpus(boot: BootLog) -> int:
    if boot.nr_cpus is None:
        raise boot.missing("setup_percpu: NR_CPUS:… nr_cpu_ids:…")
    return boot.nr_cpus


def _cpus_by_log(boot: BootLog) -> CpuLists:
    """Return the CPUs as the boot messages count them; those for hotplug are not present."""
    nr_possible = boot.nr_possible or boot.nr_cpu_ids
    if not nr_possible:
        raise boot.missing("smpboot: Allowing … CPUs, … hotplug CPUs")
    nr_cpus = _built_nr_cpus(boot)
    nr_present = nr_possible - (boot.nr_hotplug or 0)
    if not 0 < nr_present <= nr_possible <= nr_cpus:
        raise InputError(
            f"{boot.source}: {nr_possible} possible CPUs, {boot.nr_hotplug} of them to be plugged "
            f"in; expected at least one present and at most NR_CPUS, {nr_cpus}"
        )
    present = tuple(range(nr_present))
    return CpuLists(tuple(range(nr_possible)), present, present)


def _percpu_sizes(setup: PercpuSetup, atom_bytes: int | None) -> dict[str, object]:
    """Return what the kernel asked for; where rounding up changes nothing, as it was printed."""
    fixed_bytes = setup.static_bytes + setup.reserved_bytes
    asked_bytes = 0
    if setup.first_chunk == "embed":
        unit_bytes = align_up(fixed_bytes + DYNAMIC_ASKED_BYTES, PAGE_SIZE_BYTES)
        as_asked = unit_bytes - fixed_bytes == setup.dynamic_bytes
        asked_bytes = DYNAMIC_ASKED_BYTES if as_asked else setup.dynamic_bytes
    default_atom_bytes = EMBED_ATOM_BYTES if setup.first_chunk == "embed" else PAGE_SIZE_BYTES
    return {
        "first_chunk": setup.first_chunk,
        "static_bytes": setup.static_bytes,
        "reserved_bytes": setup.reserved_bytes,
        "dynamic_bytes": asked_bytes,
        "atom_bytes": atom_bytes or default_atom_bytes,
    }


def _nodes(real: RealMachine, boot: BootLog, cpus: CpuLists) -> list[dict[str, object]]:
    if not boot.node_memory:
        raise boot.missing("  node   0: [mem 0x…-0x…]")
    numbers = sorted({*boot.node_memory, *(node.number for node in real.nodes)})
    if numbers != list(range(len(numbers))) or (real.nodes and len(numbers) > len(real.nodes)):
        raise InputError(
            f"{boot.source}: memory on nodes {sorted(boot.node_memory)}, and {len(real.nodes)} "
            "nodes in sys/nodes; expected the same nodes 0, 1, 2 … in both"
        )
    cpus_of: dict[int, list[int]] = {number: [] for number in numbers}
    for cpu, node in _node_of_cpus(real, boot, cpus, len(numbers)).items():
        cpus_of.setdefault(node, []).append(cpu)
    nodes: list[dict[str, object]] = []
    for number in sorted(cpus_of):
        ranges = sorted(boot.node_memory.get(number, ()))
        nodes.append(
            {
                "cpus": format_cpu_list(sorted(cpus_of[number])),
                "memory": [f"{memory.start:#x}-{memory.last:#x}" for memory in ranges],
            }
        )
    return nodes


def _node_of_cpus(
    real: RealMachine, boot: BootLog, cpus: CpuLists, nr_nodes: int
) -> dict[int, int]:
    """Return the node of every possible CPU.

    sysfs lists only CPUs that are online. The others share a group of units, and so a node, with
    some that are; without sysfs at all the groups are the nodes in order, if there are as many.
    """
    if nr_nodes == 1:
        return _with_groups_apart(dict.fromkeys(cpus.possible, 0), boot, cpus, nr_nodes)
    node_of = {cpu: node.number for node in real.nodes for cpu in node.cpus}
    groups_are_nodes = not real.nodes and len(boot.groups) == nr_nodes
    for group in boot.groups:
        members = [cpu for cpu in group.cpus if cpu is not None]
        known = {node_of[cpu] for cpu in members if cpu in node_of}
        if len(known) == 1 or groups_are_nodes:
            node = known.pop() if known else group.number
            for cpu in members:
                node_of.setdefault(cpu, node)
    homeless = [cpu for cpu in cpus.possible if cpu not in node_of]
    if homeless:
        raise InputError(
            f"{real.folder}: CPU {format_cpu_list(homeless)} is on no node; expected sys/nodes "
            "with a cpulist of each node, or 'pcpu-alloc: [0] 0 1 …' in dmesg.txt (loglevel=8)"
        )
    homes = {cpu: node_of[cpu] for cpu in cpus.possible}
    return _with_groups_apart(homes, boot, cpus, nr_nodes)


def _with_groups_apart(
    node_of: dict[int, int], boot: BootLog, cpus: CpuLists, nr_nodes: int
) -> dict[int, int]:
    """Put groups that the kernel kept apart on nodes of their own.

    CPUs that are possible but not there have no node at boot and form a group by themselves. Here
    they get a node without memory, whose requests fall back to the others as theirs would.
    """
    online = dict.fromkeys(cpus.online)
    taken: dict[int, int] = {}  # node -> group that has it
    groups = sorted(boot.groups, key=lambda group: all(cpu not in online for cpu in group.cpus))
    for group in groups:
        members = [cpu for cpu in group.cpus if cpu in node_of]
        if not members:
            continue
        node = node_of[members[0]]
        if taken.setdefault(node, group.number) != group.number:
            for cpu in members:
                node_of[cpu] = nr_nodes
            nr_nodes += 1
    return node_of


def _group_phys(real: RealMachine, boot: BootLog, pcpu_base_addr: int | None) -> tuple[int, ...]:
    """Return the physical address of each group of the first chunk, or nothing if unknown."""
    state = next(real.states(), None)
    if state is not None:
        addrs = state.group_addrs
    elif pcpu_base_addr is not None and len(boot.groups) == 1 and "nokaslr" in real.words:
        addrs = (pcpu_base_addr,)
    else:
        return ()
    start, end = DIRECT_MAPS[_levels(real, pcpu_base_addr)]
    known = all(start <= addr < end for addr in addrs)
    return tuple(addr - start for addr in addrs) if known else ()


def _levels(real: RealMachine, pcpu_base_addr: int | None) -> int:
    """Return how many levels of page tables the machine's addresses show, 4 if they show nothing."""
    state = next(real.states(), None)
    base = state.pcpu_base_addr if state is not None else pcpu_base_addr
    return 5 if base is not None and 0xFF00 << 48 <= base < FIVE_LEVELS_END else 4


def _distances(real: RealMachine, nr_nodes: int) -> list[list[int]]:
    """Return the firmware's distances, and the default ones for nodes that it does not know."""
    rows = [list(node.distances) for node in real.nodes]
    for row in rows:
        row += [REMOTE_DISTANCE] * (nr_nodes - len(row))
    rows += [
        [LOCAL_DISTANCE if other == node else REMOTE_DISTANCE for other in range(nr_nodes)]
        for node in range(len(rows), nr_nodes)
    ]
    return rows


def _symbols(real: RealMachine) -> dict[str, str]:
    """Return the static per-CPU variables, and the kernel's own where KASLR did not move them."""
    symbols = dict(real.percpu_symbols)
    if real.kernel_symbols.get("_text") == IMAGE_START:
        symbols |= real.kernel_symbols
    return {name: f"{addr:#x}" for name, addr in symbols.items()}
