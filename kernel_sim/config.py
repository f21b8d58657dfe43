"""What machine is wanted: a frozen description, read from plain data and written back to it.

    TOML file --tomllib--> mapping --from_mapping()--> MachineConfig --to_mapping()--> recording
                                         |
                                         +-- ConfigError: file, [table], key, what was expected

A machine that cannot be is refused here, so that boot has nothing left to doubt. to_mapping()
writes every value, also those that were defaults: a recording does not change when a default
does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kernel_sim.config_hardware import (
    MemoryConfig,
    ModulesConfig,
    TlbConfig,
    TraceConfig,
    VmallocConfig,
)
from kernel_sim.config_memory import NodeConfig, check_memory, read_nodes
from kernel_sim.config_sections import (
    CpusConfig,
    KernelConfig,
    PercpuConfig,
    ScheduleConfig,
    read_distances,
)
from kernel_sim.config_table import ConfigTable, shown
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.mm.phys_range import PhysRange
from kernel_sim.percpu.catalogue import DEFAULT_SYSTEM, system_entry
from kernel_sim.percpu.group_placement import find_group_addrs
from kernel_sim.percpu.unit_layout import AllocInfo, build_alloc_info
from kernel_sim.topology import NUMA_NO_NODE, Topology, default_distances, format_cpu_list

WORK_MODES = ("auto", "scripted")
SYMBOLS_MAX = 65536
NAME_CHARS_MAX = 100  # it stands in titles and lists
TOP_KEYS = (
    "name", "kernel", "cpus", "node", "numa", "memory", "tlb", "percpu", "vmalloc", "modules",
    "schedule", "work", "trace", "symbols",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class MachineConfig:
    """One machine. nodes[i] is node i; distances is None if the firmware has no SLIT."""

    name: str
    kernel: KernelConfig
    cpus: CpusConfig
    nodes: tuple[NodeConfig, ...]
    distances: tuple[tuple[int, ...], ...] | None
    memory: MemoryConfig
    tlb: TlbConfig
    percpu: PercpuConfig
    vmalloc: VmallocConfig
    modules: ModulesConfig
    trace: TraceConfig
    schedule: ScheduleConfig
    work_mode: str
    symbols: tuple[tuple[str, int], ...]

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, object], *, where: str) -> MachineConfig:
        """Return the machine that a mapping describes; where names its source in messages.

        Raises: ConfigError if a key is unknown or a value or the whole cannot be.
        """
        top = ConfigTable(where, "", mapping, TOP_KEYS)
        kernel_keys = ("version", "nr_cpus", "page_table_levels", "arch")
        percpu_table = top.table("percpu", PercpuConfig.__slots__)
        system = percpu_table.text("system", DEFAULT_SYSTEM)
        kernel = KernelConfig.from_table(top.table("kernel", kernel_keys), system=system)
        cpus_table = top.table("cpus", ("possible", "present", "online"))
        cpus = CpusConfig.from_table(cpus_table, nr_cpus=kernel.nr_cpus)
        nodes = read_nodes(top, cpus.possible)
        check_memory(where, nodes, arch=kernel.arch)
        modules_table = top.table("modules", ("start", "end"))
        percpu = PercpuConfig.from_table(percpu_table, kernel=kernel, is_numa=len(nodes) > 1)
        vmalloc = VmallocConfig.from_table(
            top.table("vmalloc", ("start", "end", "areas")),
            arch=kernel.arch,
            memory_end=_memory_end(nodes) if system_entry(system).vmalloc_follows_memory else None,
        )
        memory = top.table("memory", MemoryConfig.__slots__)
        config = cls(
            name=_read_name(top),
            kernel=kernel,
            cpus=cpus,
            nodes=nodes,
            distances=read_distances(top.table("numa", ("distances",)), len(nodes)),
            memory=MemoryConfig.from_table(memory, usual=system_entry(system).pages),
            tlb=TlbConfig.from_table(top.table("tlb", ("profile",)), arch=kernel.arch),
            percpu=percpu,
            vmalloc=vmalloc,
            modules=ModulesConfig.from_table(modules_table, arch=kernel.arch, vmalloc=vmalloc),
            trace=TraceConfig.from_table(top.table("trace", ("kmem",))),
            schedule=ScheduleConfig.from_table(top.table("schedule", ("policy", "seed"))),
            work_mode=top.table("work", ("mode",)).choice("mode", WORK_MODES, "auto"),
            symbols=_read_symbols(where, mapping.get("symbols", {})),
        )
        if system_entry(config.percpu.system).lays_out_units:
            config._check_first_chunk(percpu_table)
        return config

    def to_mapping(self) -> dict[str, object]:
        """Return all of it as builtin types; from_mapping() of the result equals this machine."""
        mapping: dict[str, object] = {
            "name": self.name,
            "kernel": self.kernel.to_mapping(),
            "cpus": {
                "possible": format_cpu_list(self.cpus.possible),
                "present": format_cpu_list(self.cpus.present),
                "online": format_cpu_list(self.cpus.online),
            },
            "node": [node.to_mapping() for node in self.nodes],
            "memory": self.memory.to_mapping(),
            "tlb": {"profile": self.tlb.profile},
            "percpu": self.percpu.to_mapping(),
            "vmalloc": self.vmalloc.to_mapping(),
            "modules": {"start": f"{self.modules.start:#x}", "end": f"{self.modules.end:#x}"},
            "trace": {"kmem": self.trace.kmem},
            "schedule": {"policy": self.schedule.policy, "seed": self.schedule.seed},
            "work": {"mode": self.work_mode},
            "symbols": {name: f"{addr:#x}" for name, addr in self.symbols},
        }
        if self.distances is not None:
            mapping["numa"] = {"distances": [list(row) for row in self.distances]}
        return mapping

    def topology(self) -> Topology:
        """Return the CPUs and nodes of this machine."""
        node_of_cpu = [NUMA_NO_NODE] * (self.cpus.possible[-1] + 1)
        for number, node in enumerate(self.nodes):
            for cpu in node.cpus:
                node_of_cpu[cpu] = number
        return Topology(
            possible=self.cpus.possible,
            present=self.cpus.present,
            online=self.cpus.online,
            node_of_cpu=tuple(node_of_cpu),
            distances=self.distances or default_distances(len(self.nodes)),
            nodes=tuple(range(len(self.nodes))),
        )

    def alloc_info(self, first_chunk: str | None = None) -> AllocInfo:
        """Return the unit layout; first_chunk "page" is what boot falls back to from "embed"."""
        percpu = self.percpu
        by_pages = (first_chunk or percpu.first_chunk) == "page"
        by_node = percpu.distance_fn and not by_pages
        return build_alloc_info(
            static_size_bytes=percpu.static_bytes,
            reserved_size_bytes=percpu.reserved_bytes,
            dyn_size_bytes=0 if by_pages else percpu.dynamic_bytes,
            atom_size_bytes=PAGE_SIZE_BYTES if by_pages else percpu.atom_bytes,
            cpus=self.cpus.possible,
            node_of=self.topology().node_of_cpu.__getitem__ if by_node else None,
            dyn_early_size_bytes=self.kernel.dyn_early_bytes,
        )

    def _check_first_chunk(self, table: ConfigTable) -> None:
        """Refuse a machine whose memory cannot hold the first chunk."""
        info = self.alloc_info()
        if self.percpu.backend == "km" and len(info.groups) > 1:
            raise table.error(
                "backend",
                f'"km" with {len(info.groups)} groups; expected one group: set distance_fn = false',
            )
        if self.percpu.group_phys:
            self._check_group_phys(table, info)
        elif self.percpu.first_chunk == "page":
            needed = info.nr_units * info.unit_size_bytes >> PAGE_SHIFT
            nr_pages = sum(node.nr_pages for node in self.nodes)
            if needed > nr_pages:
                raise table.error(
                    "first_chunk",
                    f"needs {needed} pages; expected more memory than {nr_pages} pages",
                )
        else:
            memory = [self._directly_mapped(node) for node in self.nodes]
            addrs = find_group_addrs(info, self.topology(), memory)
            for group, addr in zip(info.groups, addrs, strict=True):
                node = self.topology().node_of_cpu[group.first_cpu]
                if addr is None or not self._holds(node, addr):
                    raise table.error(
                        "first_chunk",
                        f"node {node} has no room for the group of CPU {group.first_cpu}; expected "
                        f"{info.group_size_bytes(group)} bytes aligned to {info.atom_size_bytes}",
                    )

    def _directly_mapped(self, node: NodeConfig) -> list[PhysRange]:
        """Return the node's memory that boot can reach: on i386 what lies below high memory."""
        top = self.kernel.arch.direct_map_bytes_max
        return [PhysRange(r.start, min(r.last, top - 1)) for r in node.memory if r.start < top]

    def _holds(self, node: int, addr: int) -> bool:
        """Say whether a group of the node may lie at addr: on the node, or its CPUs are not there.

        CPUs that are only possible have no node at boot, and their group lies on any.
        """
        if not any(cpu in self.cpus.present for cpu in self.nodes[node].cpus):
            return True
        return any(memory.contains(addr=addr, size_bytes=1) for memory in self.nodes[node].memory)

    def _check_group_phys(self, table: ConfigTable, info: AllocInfo) -> None:
        addrs = self.percpu.group_phys
        if len(addrs) != len(info.groups):
            raise table.error(
                "group_phys", f"{len(addrs)} addresses; expected one for each of the "
                f"{len(info.groups)} groups"
            )  # fmt: skip
        ranges = [memory for node in self.nodes for memory in node.memory]
        taken_end = 0
        for addr, group in sorted(zip(addrs, info.groups, strict=True), key=lambda pair: pair[0]):
            size_bytes = info.group_size_bytes(group)
            if addr % info.atom_size_bytes:
                raise table.error(
                    "group_phys", f"{addr:#x}; expected a multiple of {info.atom_size_bytes:#x}"
                )
            if addr < taken_end:
                raise table.error(
                    "group_phys",
                    f"{addr:#x} lies in the group below; expected {taken_end:#x} or more",
                )
            if not any(memory.contains(addr=addr, size_bytes=size_bytes) for memory in ranges):
                raise table.error(
                    "group_phys",
                    f"{addr:#x}; expected {size_bytes:#x} bytes inside one range of memory",
                )
            taken_end = addr + size_bytes


def _memory_end(nodes: tuple[NodeConfig, ...]) -> int:
    return max((memory.last + 1 for node in nodes for memory in node.memory), default=0)


def _read_name(top: ConfigTable) -> str:
    name = top.text("name")
    if not name or not name.isprintable() or len(name) > NAME_CHARS_MAX:
        raise top.error(
            "name", f"{shown(name)}; expected 1 to {NAME_CHARS_MAX} printable characters"
        )
    return name


def _read_symbols(where: str, source: object) -> tuple[tuple[str, int], ...]:
    names = tuple(source) if isinstance(source, Mapping) else ()
    table = ConfigTable(where, "[symbols]", source, names)
    if len(names) > SYMBOLS_MAX:
        raise table.error("", f"{len(names)} symbols; expected at most {SYMBOLS_MAX}")
    for name in names:
        if not isinstance(name, str) or not name:
            raise table.error(str(name), "expected a name")
    return tuple((name, table.address(name, 0)) for name in names)
