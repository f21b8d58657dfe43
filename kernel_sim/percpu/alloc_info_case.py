"""Layouts in the words of the recorded cases: plain mappings in, plain mappings out.

    {"cpu_node": [0, 0, null, 1], "distance_fn": true, "static_size": ..., ...}   a case
        -> {"unit_size": ..., "groups": [[0, 1], [3, null]], "dump": [...], ...}

A case comes from a file, so every field is looked at before it is used.
"""

from __future__ import annotations

from collections.abc import Mapping

from kernel_sim.alignment import align_up, is_power_of_two
from kernel_sim.config_table import ConfigTable
from kernel_sim.mm.page import PAGE_SIZE_BYTES
from kernel_sim.percpu.area_layout import build_area_alloc_info
from kernel_sim.percpu.boot_log import first_chunk_lines
from kernel_sim.percpu.slots import ChunkSlots
from kernel_sim.percpu.unit_layout import AllocInfo, Region, build_alloc_info
from kernel_sim.topology import NR_CPUS_MAX, NR_NODES_MAX

SIZE_BYTES_MAX = 1 << 30
ERA_6_1 = "6.1"
ERA_2_6_34 = "2.6.34"
INPUT_KEYS = ("cpu_node", "distance_fn", "static_size", "reserved_size", "dyn_size", "atom_size")


def alloc_info_result(
    case: Mapping[str, object], *, where: str = "alloc_info", era: str = ERA_6_1
) -> dict[str, object]:
    """Return the layout of a case, shaped like the recorded result.

    era: by whose rules. cpu_node[i] is CPU i's node, None for a number that is no CPU. Raises:
    ConfigError on a bad case.
    """
    table = ConfigTable(where, "input", case, INPUT_KEYS)
    nodes = _cpu_nodes(table)
    has_distance = table.boolean("distance_fn")
    info = _build(table, nodes, by_node=has_distance, era=era)
    return {
        "unit_size": info.unit_size_bytes,
        "alloc_size": info.alloc_size_bytes,
        "dyn_size_effective": info.dyn_size_bytes,
        "nr_groups": len(info.groups),
        "units_per_alloc": info.upa,
        "group_info": [
            {"nr_units": group.nr_units, "base_offset": group.base_offset_bytes}
            for group in info.groups
        ],
        "groups": [list(group.cpu_map) for group in info.groups],
        "dump": list(info.dump_lines()),
        "nr_units": info.nr_units,
    }


def first_chunk_result(header: Mapping[str, object], *, where: str = "config") -> dict[str, object]:
    """Return the figures that follow from the inputs among a recorded header's config.

    Read are backend, nr_cpus, cpu_node (None: no distance function), the four sizes and
    first_chunk; groups lie back to back, each aligned to atom_size. Raises: ConfigError on a bad
    header.
    """
    table = ConfigTable(where, "config", header, tuple(header))
    nr_cpus = table.integer("nr_cpus", lowest=1, highest=NR_CPUS_MAX)
    by_node = header.get("cpu_node") is not None
    nodes = _cpu_nodes(table) if by_node else dict.fromkeys(range(nr_cpus), 0)
    if len(nodes) != nr_cpus:
        raise table.error("cpu_node", f"{len(nodes)} CPUs; expected nr_cpus = {nr_cpus}")
    info = _build(table, nodes, by_node=by_node)
    slots = ChunkSlots.for_unit(info.unit_size_bytes)
    lines = first_chunk_lines(
        info,
        first_chunk=table.choice("first_chunk", ("embed", "page")),
        backend=table.choice("backend", ("vm", "km")),
    )
    return {
        "unit_size": info.unit_size_bytes,
        "alloc_size": info.alloc_size_bytes,
        "dyn_size_effective": info.dyn_size_bytes,
        "units_per_alloc": info.upa,
        "groups": [list(group.cpu_map) for group in info.groups],
        "unit_offsets": list(info.unit_offsets(back_to_back_offsets(info))),
        "nr_slots": len(slots.lists),
        "sidelined_slot": slots.sidelined,
        "free_slot": slots.free,
        "to_depopulate_slot": slots.to_depopulate,
        "reserved_chunk": _region(info.reserved_region()),
        "first_chunk_layout": _region(info.dynamic_region()),
        "boot_log": [line.with_level() for line in lines],
    }


def back_to_back_offsets(info: AllocInfo) -> tuple[int, ...]:
    """Return group offsets as a bump allocator gives them: in order, each aligned to an atom."""
    offsets: list[int] = []
    end = 0
    for group in info.groups:
        offsets.append(align_up(end, info.atom_size_bytes))
        end = offsets[-1] + info.group_size_bytes(group)
    return tuple(offsets)


def _build(
    table: ConfigTable, nodes: Mapping[int, int], *, by_node: bool, era: str = ERA_6_1
) -> AllocInfo:
    atom = table.integer("atom_size", lowest=PAGE_SIZE_BYTES, highest=SIZE_BYTES_MAX)
    if not is_power_of_two(atom):
        raise table.error("atom_size", f"{atom}; expected a power of two")
    build, lowest_dyn = (build_area_alloc_info, -1) if era == ERA_2_6_34 else (build_alloc_info, 0)
    return build(
        static_size_bytes=table.integer("static_size", lowest=1, highest=SIZE_BYTES_MAX),
        reserved_size_bytes=table.integer("reserved_size", lowest=0, highest=SIZE_BYTES_MAX),
        dyn_size_bytes=table.integer("dyn_size", lowest=lowest_dyn, highest=SIZE_BYTES_MAX),
        atom_size_bytes=atom,
        cpus=tuple(nodes),
        node_of=nodes.__getitem__ if by_node else None,
    )


def _cpu_nodes(table: ConfigTable) -> dict[int, int]:
    """Return the node of each CPU of the case."""
    entries = table.sequence("cpu_node", entries_max=NR_CPUS_MAX)
    nodes: dict[int, int] = {}
    for cpu, node in enumerate(entries):
        if node is None:
            continue
        if type(node) is not int or not 0 <= node < NR_NODES_MAX:
            raise table.error(
                "cpu_node", f"CPU {cpu}: {node!r}; expected a node below {NR_NODES_MAX} or null"
            )
        nodes[cpu] = node
    if not nodes:
        raise table.error("cpu_node", "no CPU; expected at least one")
    return nodes


def _region(region: Region | None) -> dict[str, int] | None:
    if region is None:
        return None
    return {
        "base_off": region.base_offset_bytes,
        "start_offset": region.start_offset_bytes,
        "end_offset": region.end_offset_bytes,
        "nr_pages": region.nr_pages,
    }
