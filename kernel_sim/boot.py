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
from functools import partial

from kernel_sim.alignment import align_up
from kernel_sim.calls import call_table
from kernel_sim.config import MachineConfig
from kernel_sim.cpu import Cpu
from kernel_sim.errors import ConfigError
from kernel_sim.hotplug.states import CPUHP_OFFLINE, CPUHP_ONLINE
from kernel_sim.machine import Machine
from kernel_sim.mm.address_space import KernelAddressSpace
from kernel_sim.mm.fixmap import Fixmap
from kernel_sim.mm.frames import PhysicalMemory
from kernel_sim.mm.gfp import GFP_KERNEL
from kernel_sim.mm.memory_access import MemoryAccess
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.mm.page_alloc import PageAllocator
from kernel_sim.mm.page_trace import TracedPageAllocator
from kernel_sim.mm.paging import PAGE_KERNEL
from kernel_sim.mm.slab import SlabAllocator
from kernel_sim.mm.tlb import Tlb
from kernel_sim.mm.tlb_flush import flush_tlb_kernel_range
from kernel_sim.mm.tlb_profiles import tlb_profile
from kernel_sim.mm.vmalloc import VmallocSpace, lazy_max_pages_of
from kernel_sim.mm.watermarks import PROFILE_PLAIN
from kernel_sim.module_host import MachineModuleHost
from kernel_sim.modules.loader import ModuleLoader
from kernel_sim.optional_parts import remember_boot
from kernel_sim.percpu.backing_km import KmBacking
from kernel_sim.percpu.backing_vm import UnitPlaces, VmBacking
from kernel_sim.percpu.bitmap import BitmapPercpu
from kernel_sim.percpu.boot_log import boot_lines
from kernel_sim.percpu.first_chunk import setup_first_chunk
from kernel_sim.percpu.slots import ChunkSlots
from kernel_sim.percpu.unit_layout import AllocInfo, is_too_wide, max_distance_bytes
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
    table_page = _early_tables(pages)
    info, group_phys = _place_groups(config, topology, pages)
    root_pfn = table_page(boot_node, 0)
    if root_pfn is None:
        raise ConfigError(f"{config.name}: no memory for the kernel's page tables")
    space = KernelAddressSpace(root_pfn, arch.page_table_levels, memory, table_page, arch=arch.name)
    _map_memory(space, config, image_phys, image_bytes)
    vmalloc, module_space = _address_ranges(config, topology)
    by_pages = not group_phys
    if by_pages:
        group_addrs = _map_first_chunk_by_pages(topology, info, vmalloc, pages, space)
    else:
        group_addrs = tuple(arch.direct_map_addr + phys for phys in group_phys)
    space.alloc_table = _runtime_tables(pages)
    tlbs = _tlbs(config)
    machine = Machine(
        config=config,
        arch=arch,
        topology=topology,
        alloc_info=info,
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
        boot_group_addrs=group_addrs,
        symbols=_own_symbols(config, image_phys, image_bytes),
    )
    _set_up_percpu(machine)
    machine.offline_nodes = _nodes_not_there(config, topology)
    machine.count_online_of_nodes()
    machine.modules = ModuleLoader(MachineModuleHost(machine))
    if isinstance(pages, TracedPageAllocator):
        pages.trace = machine.emit
    machine.call_table = call_table(machine)
    remember_boot(machine)
    lines = boot_lines(config, group_phys)
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
    if not arch.percpu_is_zero_based:
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


def _early_tables(pages: PageAllocator) -> Callable[[int, int], int | None]:
    """Return how boot gets a page for a table: from the top of a node, before the buddy runs."""

    def table_page(node: int, cpu: int = 0) -> int | None:
        phys = _reserve_near(pages, node, PAGE_SIZE_BYTES, PAGE_SIZE_BYTES)
        return None if phys is None else phys >> PAGE_SHIFT

    return table_page


def _reserve_near(pages: PageAllocator, node: int, nr_bytes: int, align_bytes: int) -> int | None:
    """Set memory aside on the node, or on the nearest that has room; returns its address or None."""
    phys = pages.reserve(node=node, nr_bytes=nr_bytes, align_bytes=align_bytes)
    if phys is not None:
        return phys
    for candidate in pages.fallback_order(node):
        phys = pages.reserve(node=candidate, nr_bytes=nr_bytes, align_bytes=align_bytes)
        if phys is not None:
            return phys
    return None


def _runtime_tables(pages: PageAllocator) -> Callable[[int, int], int | None]:
    """Return how a running kernel gets a page for a table.

    It may be told to fail, but not under "plain", whose recordings were made when tables never did.
    """
    injectable = pages.profile != PROFILE_PLAIN
    return lambda node, cpu: pages.alloc_pages(
        gfp=GFP_KERNEL, order=0, node=node, cpu=cpu, injectable=injectable, caller=TABLE_CALLER
    )


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
    phys = _reserve_near(pages, node, nr_bytes, info.atom_size_bytes)
    if phys is not None:
        return phys
    raise ConfigError(
        f"{config.name}: no node has {nr_bytes} free bytes in one piece for group {group} of the first"
        f" chunk; give node {node} more memory"
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
    nr_pages = align_up(info.size_sum_bytes, PAGE_SIZE_BYTES) >> PAGE_SHIFT
    for cpu, unit in info.unit_map.items():
        node = topology.node_of_cpu[cpu]
        start = base + unit * info.unit_size_bytes
        if not _map_unit(pages, space, node, start, nr_pages):
            raise ConfigError(f"no memory for the first chunk's {nr_pages} pages of CPU {cpu}")
    return (base,)


def _map_unit(
    pages: PageAllocator, space: KernelAddressSpace, node: int, start: int, nr_pages: int
) -> bool:
    """Map pages of a node, from its top down, into a unit; False without memory.

    They are taken one by one as long as tables may come between; after two of them under the same
    table nothing else does, and the rest is the block just below.
    """
    one_page = _early_tables(pages)
    table_bytes = 1 << space.mode.levels[-2].shift
    ready: list[int] = []
    nr_single = 0
    pfn: int | None = None
    for virt in range(start, start + nr_pages * PAGE_SIZE_BYTES, PAGE_SIZE_BYTES):
        if virt % table_bytes == 0:
            nr_single = 0
        if nr_single == 2 and not ready and pfn is not None:
            end = min(start + nr_pages * PAGE_SIZE_BYTES, align_up(virt + 1, table_bytes))
            ready = _block_below(pages, pfn, (end - virt) >> PAGE_SHIFT)
        if ready:
            pfn = ready.pop()
        else:
            pfn = one_page(node, 0)
            nr_single += 1
        if pfn is None or not space.map_page(virt=virt, pfn=pfn, flags=PAGE_KERNEL, node=node):
            return False
    return True


def _block_below(pages: PageAllocator, pfn: int, nr_pages: int) -> list[int]:
    """Set the pages just below one aside if all are free; returns them, the highest last."""
    first = pfn - nr_pages
    if pages.zone_of_pfn(pfn).buddy.find_not_free(first, pfn) is not None:
        return []
    pages.reserve_at(first << PAGE_SHIFT, pfn << PAGE_SHIFT)
    return list(range(first, pfn))


def _set_up_percpu(machine: Machine) -> None:
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
    backing: KmBacking | VmBacking
    if config.percpu.backend == "km":
        if len(info.groups) > 1:
            raise ConfigError(
                f"{config.name}: [percpu] backend: percpu-km serves one group, this machine has"
                f' {len(info.groups)}; expected "vm"'
            )
        backing = KmBacking(
            places, machine.pages, machine.memory, machine.space, machine.arch.direct_map_addr
        )
    else:
        backing = VmBacking(places, machine.pages, machine.memory, machine.space, machine.vmalloc)
        backing.flush = partial(flush_tlb_kernel_range, machine)
    if machine.tlbs:
        backing.access = machine.access
    machine.places = places
    machine.unit_starts = tuple(sorted(places.unit_offsets[cpu] for cpu in places.cpus))
    machine.percpu = BitmapPercpu(
        host=machine,
        backing=backing,
        nr_possible_cpus=len(places.cpus),
        unit_size_bytes=info.unit_size_bytes,
        base_addr=base_addr,
        slots=ChunkSlots.for_unit(info.unit_size_bytes),
        free_hint_fixed=config.percpu.free_hint == "fixed",
        word_bytes=machine.arch.word_bytes,
        percpu_start=0 if machine.arch.percpu_is_zero_based else machine.symbol("__per_cpu_start"),
    )
    setup_first_chunk(
        machine.percpu,
        static_size_bytes=info.static_size_bytes,
        reserved_size_bytes=info.reserved_size_bytes,
        dyn_size_bytes=info.dyn_size_bytes,
    )
    _load_registers(machine, places)


def _load_registers(machine: Machine, places: UnitPlaces) -> None:
    """Set base registers, __per_cpu_offset[], and the variables in which a CPU finds itself."""
    table = machine.symbol("__per_cpu_offset")
    word_bytes, mask = machine.arch.word_bytes, machine.arch.address_mask
    for cpu in places.cpus:
        offset = machine.per_cpu_offset(cpu)
        machine.cpus[cpu].gs_base = offset
        _write(machine, table + cpu * word_bytes, offset, word_bytes)
        for name, value, size in (("this_cpu_off", offset, word_bytes), ("cpu_number", cpu, 4)):
            if machine.percpu_symbol_offset(name) is not None:
                _write(machine, offset + machine.symbols[name] & mask, value, size)


def _write(machine: Machine, virt: int, value: int, size: int) -> None:
    phys = machine.space.translate(virt)
    if phys is None:
        raise ConfigError(
            f"{machine.config.name}: [symbols]: {virt:#x} is not mapped; expected an address in the"
            f" kernel image, from {machine.arch.image_map_addr + IMAGE_PHYS:#x} on, or none"
        )
    machine.memory.write(phys, value.to_bytes(size, "little"))
