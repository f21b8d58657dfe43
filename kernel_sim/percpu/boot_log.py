"""What a kernel prints while it lays out its CPUs, nodes and per-CPU areas, byte for byte.

    ACPI: SRAT: Node 0 PXM 0 [mem 0x00000000-0x0009ffff]         nodes, if there is more than one
    smpboot: Allowing 4 CPUs, 0 hotplug CPUs                     possible and present CPUs
    setup_percpu: NR_CPUS:8192 nr_cpumask_bits:4 nr_cpu_ids:4 nr_node_ids:2
    percpu: Embedded 62 pages/cpu s217088 r8192 d28672 u1048576  first chunk
    pcpu-alloc: s217088 r8192 d28672 u1048576 alloc=1*2097152    layout (level 7)
    pcpu-alloc: [0] 0 1 [1] 2 3

Only lines that a machine's description determines are here; APIC numbers, for one, it does not
have.
Source: Linux 6.1 mm/percpu.c, mm/percpu-km.c, arch/x86/kernel/setup_percpu.c,
arch/x86/kernel/smpboot.c, arch/x86/mm/numa.c, arch/x86/mm/srat.c; 6.12
arch/x86/kernel/cpu/topology.c.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.mm.phys_range import PhysRange
from kernel_sim.percpu.unit_layout import AllocInfo, is_too_wide, max_distance_bytes

if TYPE_CHECKING:
    from kernel_sim.config import MachineConfig
    from kernel_sim.config_memory import NodeConfig

KERN_WARNING = 4
KERN_INFO = 6
KERN_DEBUG = 7
EINVAL = 22
CPUMASK_ON_STACK_MAX = 512  # x86 builds for more CPUs keep masks off the stack


class BootLine(NamedTuple):
    """A line of the kernel log without its time."""

    level: int
    text: str

    def with_level(self) -> str:
        """Return the line with its level in front, as the kernel's own log holds it."""
        return f"<{self.level}>{self.text}"


def boot_lines(config: MachineConfig, group_phys: Sequence[int] = ()) -> tuple[BootLine, ...]:
    """Return the lines of a machine's boot.

    group_phys says where the groups of an embedded first chunk lie; without it, config.percpu's
    own; without both, they are taken to lie near enough to each other.
    """
    head = (*numa_lines(config), allowing_cpus_line(config))
    return *head, *percpu_lines(config, group_phys)


def percpu_lines(config: MachineConfig, group_phys: Sequence[int] = ()) -> tuple[BootLine, ...]:
    """Return what the setup of per-CPU areas prints, the limits first; group_phys as above."""
    head = (setup_percpu_line(config),)
    backend = config.percpu.backend
    info = config.alloc_info()
    addrs = group_phys or config.percpu.group_phys
    if config.percpu.first_chunk == "embed" and addrs:
        distance = max_distance_bytes(info, addrs)
        total = config.vmalloc.total_bytes
        if is_too_wide(distance, vmalloc_total_bytes=total):
            info = config.alloc_info("page")
            return (
                *head,
                max_distance_line(distance, vmalloc_total_bytes=total),
                embed_failed_line(),
                *first_chunk_lines(info, first_chunk="page", backend=backend),
            )
    return *head, *first_chunk_lines(info, first_chunk=config.percpu.first_chunk, backend=backend)


def numa_lines(config: MachineConfig) -> tuple[BootLine, ...]:
    """Return what firmware said about nodes, or that it said nothing."""
    nodes = config.nodes
    if len(nodes) == 1 and config.distances is None:
        last = max(r.end_pfn for r in nodes[0].memory) * PAGE_SIZE_BYTES - 1
        return (
            BootLine(KERN_INFO, "No NUMA configuration found"),
            BootLine(KERN_INFO, f"Faking a node at [mem {0:#018x}-{last:#018x}]"),
        )
    lines = [
        BootLine(KERN_INFO, f"ACPI: SRAT: Node {number} PXM {number} {_mem(memory)}")
        for number, node in enumerate(nodes)
        for memory in node.memory
    ]
    if config.distances is not None:
        lines.append(BootLine(KERN_DEBUG, f"NUMA: Initialized distance table, cnt={len(nodes)}"))
    return *lines, *_merged_memory_lines(nodes)


def _merged_memory_lines(nodes: Sequence[NodeConfig]) -> list[BootLine]:
    """Return a line for each two ranges of a node with no other node's memory between them."""
    by_address = sorted((r, number) for number, node in enumerate(nodes) for r in node.memory)
    by_node: list[list[BootLine]] = [[] for _ in nodes]
    joined, owner = by_address[0]
    for memory, number in by_address[1:]:
        if number != owner:
            joined, owner = memory, number
            continue
        whole = PhysRange(joined.start, memory.last)
        text = f"NUMA: Node {number} {_mem(joined)} + {_mem(memory)} -> {_mem(whole)}"
        by_node[number].append(BootLine(KERN_INFO, text))
        joined = whole
    return [line for lines in by_node for line in lines]


def _mem(memory: PhysRange) -> str:
    return f"[mem {memory.start:#010x}-{memory.last:#010x}]"


def allowing_cpus_line(config: MachineConfig) -> BootLine:
    """Return how many CPUs may come, and how many of these are not plugged in."""
    nr_possible, nr_present = len(config.cpus.possible), len(config.cpus.present)
    nr_hotplug = nr_possible - nr_present
    if config.kernel.version == "6.1":
        text = f"smpboot: Allowing {nr_possible} CPUs, {nr_hotplug} hotplug CPUs"
    else:  # since 6.9 the topology code counts, and words it differently
        text = f"CPU topo: Allowing {nr_present} present CPUs plus {nr_hotplug} hotplug CPUs"
    return BootLine(KERN_INFO, text)


def setup_percpu_line(config: MachineConfig) -> BootLine:
    """Return the limits under which per-CPU areas are set up."""
    nr_cpus = config.kernel.nr_cpus
    nr_cpu_ids = config.cpus.possible[-1] + 1
    # Masks on the stack have NR_CPUS bits; the two counts are the same since 6.3.
    on_stack = nr_cpus <= CPUMASK_ON_STACK_MAX and config.kernel.version == "6.1"
    return BootLine(
        KERN_INFO,
        f"setup_percpu: NR_CPUS:{nr_cpus} nr_cpumask_bits:{nr_cpus if on_stack else nr_cpu_ids} "
        f"nr_cpu_ids:{nr_cpu_ids} nr_node_ids:{len(config.nodes)}",
    )


def first_chunk_lines(info: AllocInfo, *, first_chunk: str, backend: str) -> tuple[BootLine, ...]:
    """Return the lines of a first chunk that was built: what, any waste, and the layout."""
    sizes = f"s{info.static_size_bytes} r{info.reserved_size_bytes} d{info.dyn_size_bytes}"
    if first_chunk == "page":
        nr_pages = info.unit_size_bytes >> PAGE_SHIFT
        text = f"percpu: {nr_pages} {PAGE_SIZE_BYTES >> 10}K pages/cpu {sizes}"
    else:
        nr_pages = info.size_sum_bytes >> PAGE_SHIFT
        text = f"percpu: Embedded {nr_pages} pages/cpu {sizes} u{info.unit_size_bytes}"
    lines = [BootLine(KERN_INFO, text)]
    if backend == "km":
        nr_pages = info.nr_units * info.unit_size_bytes >> PAGE_SHIFT
        wasted = (1 << (nr_pages - 1).bit_length()) - nr_pages
        if wasted:
            lines.append(BootLine(KERN_WARNING, f"percpu: wasting {wasted} pages per chunk"))
    return *lines, *(BootLine(KERN_DEBUG, text) for text in info.dump_lines())


def max_distance_line(max_distance: int, *, vmalloc_total_bytes: int) -> BootLine:
    """Return the complaint that later chunks of this shape would not fit vmalloc space."""
    return BootLine(
        KERN_WARNING,
        f"percpu: max_distance={max_distance:#x} too large for vmalloc space "
        f"{vmalloc_total_bytes:#x}",
    )


def embed_failed_line() -> BootLine:
    """Return what follows that complaint where the page-by-page first chunk is built in."""
    return BootLine(
        KERN_WARNING,
        f"setup_percpu: auto allocator failed (-{EINVAL}), falling back to page size",
    )
