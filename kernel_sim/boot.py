"""From a config to a machine that stands at step 0: memory, page tables, first chunk, registers.

    physical    | low | kernel image at 16 MiB |   free …        | first chunk's groups | tables |
    virtual     direct map of all of it; the kernel image a second time at __START_KERNEL_map

Boot is not stepped: nothing can come between on a kernel that has one CPU running. What remains of it is
what the real kernel prints, and a machine in which every page has an owner.
Source: Linux 6.1 arch/x86/kernel/setup_percpu.c, mm/percpu.c.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kernel_sim.alignment import align_up
from kernel_sim.calls import call_table
from kernel_sim.config import MachineConfig
from kernel_sim.cpu import Cpu
from kernel_sim.errors import ConfigError
from kernel_sim.machine import Machine
from kernel_sim.mm.address_space import KernelAddressSpace
from kernel_sim.mm.frames import PhysicalMemory
from kernel_sim.mm.gfp import GFP_KERNEL
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.mm.page_alloc import PageAllocator
from kernel_sim.mm.paging import PAGE_KERNEL
from kernel_sim.mm.vmalloc import VmallocSpace, lazy_max_pages_of
from kernel_sim.percpu.backing_km import KmBacking
from kernel_sim.percpu.backing_vm import UnitPlaces, VmBacking
from kernel_sim.percpu.bitmap import ADDRESS_MASK, BitmapPercpu, PercpuBacking
from kernel_sim.percpu.boot_log import boot_lines
from kernel_sim.percpu.first_chunk import setup_first_chunk
from kernel_sim.percpu.slots import ChunkSlots
from kernel_sim.percpu.unit_layout import AllocInfo, is_too_wide, max_distance_bytes
from kernel_sim.random_state import RandomState
from kernel_sim.schedule import Scheduler
from kernel_sim.topology import Topology

DIRECT_MAP_ADDRS = {4: 0xFFFF888000000000, 5: 0xFF11000000000000}
KERNEL_MAP_ADDR = 0xFFFFFFFF80000000  # __START_KERNEL_map
IMAGE_PHYS = 16 << 20
IMAGE_BYTES = 64 << 20
IMAGE_PHYS_SMALL = 1 << 20  # on machines of a few MiB
OFFSET_BYTES = 8


def boot(config: MachineConfig) -> Machine:
    """Return the machine just after boot.

    Raises ConfigError if there is no memory for what boot needs.
    """
    topology = config.topology()
    pages = PageAllocator(
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
    )
    memory = PhysicalMemory()
    boot_node = topology.node_of_cpu[topology.possible[0]]
    image_phys, image_bytes = _reserve_image(config, pages)
    table_page = _early_tables(pages)
    info, group_phys = _place_groups(config, topology, pages)
    root_pfn = table_page(boot_node)
    if root_pfn is None:
        raise ConfigError(f"{config.name}: no memory for the kernel's page tables")
    space = KernelAddressSpace(root_pfn, config.kernel.page_table_levels, memory, table_page)
    direct_map = DIRECT_MAP_ADDRS[config.kernel.page_table_levels]
    _map_memory(space, config, direct_map, image_phys, image_bytes)
    vmalloc = VmallocSpace(
        config.vmalloc.start, config.vmalloc.end, lazy_max_pages_of(len(topology.online))
    )
    by_pages = not group_phys
    if by_pages:
        group_addrs = _map_first_chunk_by_pages(topology, info, vmalloc, pages, space)
    else:
        group_addrs = tuple(direct_map + phys for phys in group_phys)
    space.alloc_table = _runtime_tables(pages)
    machine = Machine(
        config=config,
        topology=topology,
        alloc_info=info,
        memory=memory,
        pages=pages,
        space=space,
        vmalloc=vmalloc,
        cpus={
            cpu: Cpu(cpu, topology.node_of_cpu[cpu], cpu in topology.online)
            for cpu in topology.possible
        },
        scheduler=Scheduler(config.schedule.policy, RandomState.from_seed(config.schedule.seed)),
        boot_group_addrs=group_addrs,
        symbols={"__per_cpu_offset": KERNEL_MAP_ADDR + image_phys + image_bytes // 2}
        | dict(config.symbols),
    )
    _set_up_percpu(machine, direct_map)
    machine.call_table = call_table(machine)
    machine.kernel_log = [(line.level, line.text) for line in boot_lines(config, group_phys)]
    return machine


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


def _ranges(pages: PageAllocator) -> Sequence[tuple[int, int]]:
    return [(start, end) for ranges in pages.memory.values() for start, end in ranges]


def _early_tables(pages: PageAllocator) -> Callable[[int], int | None]:
    """Return how boot gets a page for a table: from the top of a node, before the buddy runs."""

    def table_page(node: int) -> int | None:
        for candidate in pages.fallback_order(node):
            phys = pages.reserve(
                node=candidate, nr_bytes=PAGE_SIZE_BYTES, align_bytes=PAGE_SIZE_BYTES
            )
            if phys is not None:
                return phys >> PAGE_SHIFT
        return None

    return table_page


def _runtime_tables(pages: PageAllocator) -> Callable[[int], int | None]:
    """Return how a running kernel gets a page for a table."""
    return lambda node: pages.alloc_pages(gfp=GFP_KERNEL, order=0, node=node)


def _place_groups(
    config: MachineConfig, topology: Topology, pages: PageAllocator
) -> tuple[AllocInfo, tuple[int, ...]]:
    """Take memory for an embedded first chunk; returns its layout and the groups' physical addresses.

    No addresses mean: page by page, because the config says so or because the groups lie too far apart.
    """
    info = config.alloc_info()
    if config.percpu.first_chunk == "page":
        return info, ()
    addrs = config.percpu.group_phys or tuple(
        _reserve_group(config, topology, pages, info, group) for group in range(len(info.groups))
    )
    if config.percpu.group_phys:
        for addr, group in zip(addrs, info.groups, strict=True):
            pages.reserve_at(addr, addr + info.group_size_bytes(group))
    distance = max_distance_bytes(info, addrs)
    too_wide = is_too_wide(distance, vmalloc_total_bytes=config.vmalloc.total_bytes)
    for addr, group in zip(addrs, info.groups, strict=True):
        for unit, cpu in enumerate(group.cpu_map):
            start = addr + unit * info.unit_size_bytes
            kept = 0 if cpu is None or too_wide else info.size_sum_bytes
            if kept < info.unit_size_bytes:
                pages.release(start + kept, start + info.unit_size_bytes)
    return (config.alloc_info("page"), ()) if too_wide else (info, addrs)


def _reserve_group(
    config: MachineConfig, topology: Topology, pages: PageAllocator, info: AllocInfo, group: int
) -> int:
    nr_bytes = info.group_size_bytes(info.groups[group])
    node = topology.node_of_cpu[info.groups[group].first_cpu]
    for candidate in pages.fallback_order(node):
        phys = pages.reserve(node=candidate, nr_bytes=nr_bytes, align_bytes=info.atom_size_bytes)
        if phys is not None:
            return phys
    raise ConfigError(
        f"{config.name}: no node has {nr_bytes} free bytes in one piece for group {group} of the first"
        f" chunk; give node {node} more memory"
    )


def _map_memory(
    space: KernelAddressSpace,
    config: MachineConfig,
    direct_map: int,
    image_phys: int,
    image_bytes: int,
) -> None:
    """Map all memory once, and the kernel image a second time where its symbols lie."""
    ranges: list[list[int]] = []
    for node in config.nodes:
        for memory in node.memory:
            start, end = memory.first_pfn << PAGE_SHIFT, memory.end_pfn << PAGE_SHIFT
            if ranges and ranges[-1][1] == start:
                ranges[-1][1] = end
            elif start < end:
                ranges.append([start, end])
    for start, end in ranges:
        space.map_linear(
            virt=direct_map + start, phys=start, nr_bytes=end - start, flags=PAGE_KERNEL
        )
    space.map_linear(
        virt=KERNEL_MAP_ADDR + image_phys,
        phys=image_phys,
        nr_bytes=image_bytes,
        flags=PAGE_KERNEL,
    )


def _map_first_chunk_by_pages(
    topology: Topology,
    info: AllocInfo,
    vmalloc: VmallocSpace,
    pages: PageAllocator,
    space: KernelAddressSpace,
) -> tuple[int, ...]:
    """Build the first chunk page by page in vmalloc space, each page from its CPU's node."""
    base = vmalloc.register_early(
        info.nr_units * info.unit_size_bytes, PAGE_SIZE_BYTES, "pcpu_page_first_chunk"
    )
    table_page = _early_tables(pages)
    nr_pages = align_up(info.size_sum_bytes, PAGE_SIZE_BYTES) >> PAGE_SHIFT
    for cpu, unit in info.unit_map.items():
        node = topology.node_of_cpu[cpu]
        start = base + unit * info.unit_size_bytes
        for page in range(nr_pages):
            pfn = table_page(node)
            virt = start + page * PAGE_SIZE_BYTES
            if pfn is None or not space.map_page(virt=virt, pfn=pfn, flags=PAGE_KERNEL, node=node):
                raise ConfigError(f"no memory for the first chunk's page {page} of CPU {cpu}")
    return (base,)


def _set_up_percpu(machine: Machine, direct_map: int) -> None:
    """Make the allocator, give it its first chunk, and load every CPU's base register."""
    config, info = machine.config, machine.alloc_info
    base_addr = min(machine.boot_group_addrs)
    offsets = tuple(addr - base_addr for addr in machine.boot_group_addrs)
    places = UnitPlaces(
        cpus=machine.topology.possible,
        node_of_cpu=machine.topology.node_of_cpu,
        unit_offsets=info.unit_offsets(offsets),
        group_offsets=offsets,
        group_sizes=tuple(info.group_size_bytes(group) for group in info.groups),
        atom_size_bytes=info.atom_size_bytes,
    )
    backing: PercpuBacking
    if config.percpu.backend == "km":
        if len(info.groups) > 1:
            raise ConfigError(
                f"{config.name}: [percpu] backend: percpu-km serves one group, this machine has"
                f' {len(info.groups)}; expected "vm"'
            )
        backing = KmBacking(places, machine.pages, machine.memory, machine.space, direct_map)
    else:
        backing = VmBacking(places, machine.pages, machine.memory, machine.space, machine.vmalloc)
    machine.places = places
    machine.percpu = BitmapPercpu(
        host=machine,
        backing=backing,
        nr_possible_cpus=len(places.cpus),
        unit_size_bytes=info.unit_size_bytes,
        base_addr=base_addr,
        slots=ChunkSlots.for_unit(info.unit_size_bytes),
        free_hint_fixed=config.percpu.free_hint == "fixed",
    )
    setup_first_chunk(
        machine.percpu,
        static_size_bytes=info.static_size_bytes,
        reserved_size_bytes=info.reserved_size_bytes,
        dyn_size_bytes=info.dyn_size_bytes,
    )
    _load_registers(machine, places)


def _load_registers(machine: Machine, places: UnitPlaces) -> None:
    """Set gs bases, __per_cpu_offset[], and the static variables in which a CPU finds itself."""
    symbols = machine.symbols
    table = symbols["__per_cpu_offset"]
    for cpu in places.cpus:
        offset = machine.percpu.base_addr + places.unit_offsets[cpu] & ADDRESS_MASK
        machine.cpus[cpu].gs_base = offset
        _write(machine, table + cpu * OFFSET_BYTES, offset, OFFSET_BYTES)
        for name, value, size in (("this_cpu_off", offset, 8), ("cpu_number", cpu, 4)):
            if (
                symbols.get(name, machine.alloc_info.static_size_bytes)
                < machine.alloc_info.static_size_bytes
            ):
                _write(machine, offset + symbols[name], value, size)


def _write(machine: Machine, virt: int, value: int, size: int) -> None:
    phys = machine.space.translate(virt)
    if phys is None:
        raise ConfigError(
            f"{machine.config.name}: [symbols]: {virt:#x} is not mapped; expected an address in the"
            f" kernel image, from {KERNEL_MAP_ADDR + IMAGE_PHYS:#x} on, or none"
        )
    machine.memory.write(phys, value.to_bytes(size, "little"))
