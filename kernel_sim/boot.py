"""From a config to a machine that stands at step 0: memory, page tables, first chunk, registers.

    physical    | low | kernel image at 16 MiB |   free …        | first chunk's groups | tables |
    virtual     direct map of all of it (i386: of 896 MiB); the kernel image a second time at
                __START_KERNEL_map (x86-64)

Boot is not stepped: nothing can come between on a kernel that has one CPU running. What remains of it is
what the real kernel prints, and a machine in which every page has an owner.
Source: Linux 6.1 arch/x86/kernel/setup_percpu.c, mm/percpu.c.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kernel_sim.calls import call_table
from kernel_sim.config import MachineConfig
from kernel_sim.cpu import Cpu
from kernel_sim.early_memory import EarlyMemory, early_tables
from kernel_sim.errors import ConfigError
from kernel_sim.hotplug.states import CPUHP_OFFLINE, CPUHP_ONLINE
from kernel_sim.machine import Machine
from kernel_sim.mm.address_space import KernelAddressSpace
from kernel_sim.mm.fixmap import Fixmap
from kernel_sim.mm.frames import PhysicalMemory
from kernel_sim.mm.gfp import GFP_KERNEL
from kernel_sim.mm.memory_access import MemoryAccess
from kernel_sim.mm.page import PAGE_SHIFT
from kernel_sim.mm.page_alloc import PageAllocator
from kernel_sim.mm.page_trace import TracedPageAllocator
from kernel_sim.mm.paging import PAGE_KERNEL
from kernel_sim.mm.slab import SlabAllocator
from kernel_sim.mm.tlb import Tlb
from kernel_sim.mm.tlb_profiles import tlb_profile
from kernel_sim.mm.vmalloc import VmallocSpace, lazy_max_pages_of
from kernel_sim.mm.watermarks import PROFILE_PLAIN
from kernel_sim.module_host import MachineModuleHost
from kernel_sim.modules.loader import ModuleLoader
from kernel_sim.optional_parts import remember_boot
from kernel_sim.percpu.boot_log import allowing_cpus_line, numa_lines
from kernel_sim.percpu.catalogue import system_entry
from kernel_sim.percpu.registers import load_registers
from kernel_sim.proc.boot_memory import with_memory_lines
from kernel_sim.random_state import RandomState
from kernel_sim.schedule import Scheduler
from kernel_sim.topology import Topology

IMAGE_PHYS = 16 << 20
IMAGE_BYTES = 64 << 20
TABLE_CALLER = "pte_alloc_one"
IMAGE_PHYS_SMALL = 1 << 20  # on machines of a few MiB


def boot(config: MachineConfig) -> Machine:
    """Return the machine just after boot.

    Raises ConfigError if there is no memory for what boot needs.
    """
    topology, arch = config.topology(), config.kernel.arch
    pages = _page_allocator(config, topology)
    memory = PhysicalMemory()
    boot_node = topology.node_of_cpu[topology.possible[0]]
    image_phys, image_bytes = _reserve_image(config, pages)
    _reserve_rest(config, pages)
    entry = system_entry(config.percpu.system)
    placed = entry.place(EarlyMemory(config, topology, pages))
    table_page = early_tables(pages)
    root_pfn = table_page(boot_node, 0)
    if root_pfn is None:
        raise ConfigError(f"{config.name}: no memory for the kernel's page tables")
    space = KernelAddressSpace(root_pfn, arch.page_table_levels, memory, table_page, arch=arch.name)
    _map_memory(space, config, image_phys, image_bytes)
    vmalloc, module_space = _address_ranges(config, topology)
    tlbs = _tlbs(config)
    machine = Machine(
        config=config,
        arch=arch,
        topology=topology,
        memory=memory,
        pages=pages,
        slab=_slab(config, pages),
        space=space,
        vmalloc=vmalloc,
        module_space=module_space,
        fixmap=Fixmap(arch.fixmap_start, arch.fixmap_end),
        tlbs=tlbs,
        access=MemoryAccess(space, memory, tlbs),
        cpus=_cpus_of(topology),
        scheduler=Scheduler(config.schedule.policy, RandomState.from_seed(config.schedule.seed)),
        image_addr=arch.image_map_addr + image_phys,
        image_bytes=image_bytes,
        symbols=_own_symbols(config, image_phys, image_bytes),
    )
    machine.use_system(entry.boot(machine, placed))
    load_registers(machine)
    space.alloc_table = _runtime_tables(pages)
    machine.offline_nodes = _nodes_not_there(config, topology)
    machine.count_online_of_nodes()
    machine.modules = ModuleLoader(MachineModuleHost(machine))
    if isinstance(pages, TracedPageAllocator):
        pages.trace = machine.emit
    machine.call_table = call_table(machine)
    remember_boot(machine)
    lines = (*numa_lines(config), allowing_cpus_line(config), *machine.system.boot_lines())
    if config.memory.pages != "plain":  # machines of before the page lists printed less
        lines = with_memory_lines(machine, lines)
    machine.kernel_log = [(line.level, line.text) for line in lines]
    return machine


def _page_allocator(config: MachineConfig, topology: Topology) -> PageAllocator:
    kind = TracedPageAllocator if config.trace.kmem else PageAllocator
    return kind(
        memory={
            number: tuple(
                (r.first_pfn << PAGE_SHIFT, r.end_pfn << PAGE_SHIFT)
                for r in node.memory
                if r.nr_pages
            )
            for number, node in enumerate(config.nodes)
        },
        distances=topology.distances,
        nodes_with_cpus=tuple(n for n in topology.nodes if topology.cpus_of_node(n)),
        profile=config.memory.pages,
        arch=config.kernel.arch_name,
        node_of_cpu=topology.node_of_cpu,
        min_free_kbytes=config.memory.min_free_kbytes or None,
    )


def _slab(config: MachineConfig, pages: PageAllocator) -> SlabAllocator:
    profile = "2.6.20" if config.memory.pages == "2.6.20" else "modern"
    nr_cpus = len(config.cpus.possible)
    return SlabAllocator(pages, profile, nr_cpus=nr_cpus, arch=config.kernel.arch_name)


def _cpus_of(topology: Topology) -> dict[int, Cpu]:
    online = dict.fromkeys(topology.online, CPUHP_ONLINE)
    return {
        cpu: Cpu(
            cpu,
            topology.node_of_cpu[cpu],
            cpu in online,
            hotplug_state=online.get(cpu, CPUHP_OFFLINE),
        )
        for cpu in topology.possible
    }


def _nodes_not_there(config: MachineConfig, topology: Topology) -> dict[int, None]:
    """Return the nodes that appear with their first CPU: without memory, and none of them runs."""
    online_nodes = dict.fromkeys(topology.node_of_cpu[cpu] for cpu in topology.online)
    return dict.fromkeys(
        node
        for node in topology.nodes
        if not config.nodes[node].memory and node not in online_nodes
    )


def _own_symbols(config: MachineConfig, image_phys: int, image_bytes: int) -> dict[str, int]:
    """Return where the kernel image has what the machine itself writes there."""
    arch = config.kernel.arch
    image = arch.image_map_addr + image_phys
    symbols = {"__per_cpu_offset": image + image_bytes // 2}
    entry = system_entry(config.percpu.system)
    if not (arch.percpu_is_zero_based and entry.zero_based):
        symbols["__per_cpu_start"] = image + image_bytes // 4
    return symbols | dict(config.symbols)


def _reserve_image(config: MachineConfig, pages: PageAllocator) -> tuple[int, int]:
    """Keep the kernel image's own memory out of the page allocator; returns its address and size."""
    for phys, nr_bytes in ((IMAGE_PHYS, IMAGE_BYTES), (IMAGE_PHYS_SMALL, IMAGE_PHYS_SMALL)):
        if any(start <= phys and phys + nr_bytes <= end for start, end in _ranges(pages)):
            pages.reserve_at(phys, phys + nr_bytes)
            return phys, nr_bytes
    raise ConfigError(
        f"{config.name}: no memory for the kernel image; expected {IMAGE_PHYS_SMALL >> 20} MiB at"
        f" {IMAGE_PHYS_SMALL:#x}"
    )


def _reserve_rest(config: MachineConfig, pages: PageAllocator) -> None:
    """Keep what the description says boot kept, as far as it is memory that is still free."""
    for wanted in config.memory.reserved:
        start, end = wanted.start, wanted.last + 1
        for zone in pages.zones:
            for free_start, free_end in zone.buddy.free_ranges():
                low = max(start, free_start << PAGE_SHIFT)
                high = min(end, free_end << PAGE_SHIFT)
                if low < high:
                    pages.reserve_at(low, high)


def _address_ranges(config: MachineConfig, topology: Topology) -> tuple[VmallocSpace, VmallocSpace]:
    """Return the vmalloc space, with the areas that others have in it, and the module space."""
    lazy_max_pages = lazy_max_pages_of(len(topology.online))
    vmalloc = VmallocSpace(config.vmalloc.start, config.vmalloc.end, lazy_max_pages)
    for area in config.vmalloc.areas:
        vmalloc.add_taken(area.start, area.end - area.start, area.caller)
    if config.modules.start == config.vmalloc.start:
        return vmalloc, vmalloc
    return vmalloc, VmallocSpace(config.modules.start, config.modules.end, lazy_max_pages)


def _tlbs(config: MachineConfig) -> dict[int, Tlb]:
    if config.tlb.profile == "none":
        return {}
    profile = tlb_profile(config.tlb.profile)
    return {cpu: Tlb(profile) for cpu in config.cpus.possible}


def _ranges(pages: PageAllocator) -> Sequence[tuple[int, int]]:
    return [(start, end) for ranges in pages.memory.values() for start, end in ranges]


def _runtime_tables(pages: PageAllocator) -> Callable[[int, int], int | None]:
    """Return how a running kernel gets a page for a table.

    It may be told to fail, but not under "plain", whose recordings were made when tables never did.
    """
    injectable = pages.profile != PROFILE_PLAIN
    return lambda node, cpu: pages.alloc_pages(
        gfp=GFP_KERNEL, order=0, node=node, cpu=cpu, injectable=injectable, caller=TABLE_CALLER
    )


def _map_memory(
    space: KernelAddressSpace, config: MachineConfig, image_phys: int, image_bytes: int
) -> None:
    """Map all memory once, and the kernel image a second time where x86-64 has its symbols."""
    arch = config.kernel.arch
    ranges: list[list[int]] = []
    for node in config.nodes:
        for memory in node.memory:
            start = memory.first_pfn << PAGE_SHIFT
            end = min(memory.end_pfn << PAGE_SHIFT, arch.direct_map_bytes_max)
            if ranges and ranges[-1][1] == start:
                ranges[-1][1] = end
            elif start < end:
                ranges.append([start, end])
    for start, end in ranges:
        space.map_linear(
            virt=arch.direct_map_addr + start, phys=start, nr_bytes=end - start, flags=PAGE_KERNEL
        )
    if arch.image_map_addr != arch.direct_map_addr:
        space.map_linear(
            virt=arch.image_map_addr + image_phys,
            phys=image_phys,
            nr_bytes=image_bytes,
            flags=PAGE_KERNEL,
        )
