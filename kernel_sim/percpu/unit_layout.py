"""Who sits where in a per-CPU chunk: units, groups and the offsets of every CPU.

    4 CPUs on 2 nodes, allocations of 2 MiB, two units in each (upa = 2):

    group 0 (node 0)                 group 1 (node 1)
    | unit 0 CPU 0 | unit 1 CPU 1 |  ...gap...  | unit 2 CPU 2 | unit 3 CPU 3 |
    ^ base_addr                                 ^ base_addr + group offset

CPUs that are local to each other form a group. Each group gets whole allocations of
alloc_size_bytes; as many units as possible share one, unless more than a third of the units would
have no CPU.
Source: Linux 6.1 mm/percpu.c, pcpu_build_alloc_info(), pcpu_dump_alloc_info(),
pcpu_setup_first_chunk(), pcpu_embed_first_chunk().
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kernel_sim.alignment import align_down, align_up, div_ceil
from kernel_sim.mm.page import PAGE_SHIFT, PAGE_SIZE_BYTES
from kernel_sim.topology import LOCAL_DISTANCE

MIN_UNIT_SIZE_BYTES = 32 << 10
MIN_ALLOC_SIZE_BYTES = 4
DYNAMIC_EARLY_BYTES = 12 << 10  # 6.1; what must be served before slab is up
DUMP_LINE_WIDTH = 60
DUMP_EMPTY_WIDTH_MAX = 8  # the kernel keeps so many dashes for a unit without CPU

DistanceFn = Callable[[int, int], int]
NodeFn = Callable[[int], int]


class Region(NamedTuple):
    """A part of the first chunk's unit, widened to whole pages.

    base_offset_bytes counts from the start of the unit; start and end are the hidden bytes that the
    widening added at either side.
    """

    base_offset_bytes: int
    start_offset_bytes: int
    end_offset_bytes: int
    nr_pages: int

    @classmethod
    def around(cls, *, offset_bytes: int, size_bytes: int) -> Region:
        """Return the pages that hold size_bytes from offset_bytes of the unit."""
        base = align_down(offset_bytes, PAGE_SIZE_BYTES)
        start = offset_bytes - base
        region_bytes = align_up(start + size_bytes, PAGE_SIZE_BYTES)
        return cls(base, start, region_bytes - start - size_bytes, region_bytes >> PAGE_SHIFT)


@dataclass(frozen=True, slots=True)
class GroupInfo:
    """Units of CPUs that are local to each other.

    base_offset_bytes is as if all groups lay back to back. cpu_map[i] is the CPU of the group's
    i-th unit, None for a spare one.
    """

    nr_units: int
    base_offset_bytes: int
    cpu_map: tuple[int | None, ...]

    @property
    def first_cpu(self) -> int:
        """The lowest CPU of the group, on whose node its memory is asked for."""
        return next(cpu for cpu in self.cpu_map if cpu is not None)


@dataclass(frozen=True, slots=True)
class AllocInfo:
    """A layout. dyn_size_bytes is the effective size: what was asked for, plus rounding."""

    static_size_bytes: int
    reserved_size_bytes: int
    dyn_size_bytes: int
    unit_size_bytes: int
    atom_size_bytes: int
    alloc_size_bytes: int
    upa: int  # units per allocation
    groups: tuple[GroupInfo, ...]

    @property
    def size_sum_bytes(self) -> int:
        """Static, reserved and dynamic part together; the rest of a unit is given back."""
        return self.static_size_bytes + self.reserved_size_bytes + self.dyn_size_bytes

    @property
    def nr_units(self) -> int:
        """Units of all groups, spare ones too."""
        return sum(group.nr_units for group in self.groups)

    @property
    def unit_map(self) -> dict[int, int]:
        """The unit of each possible CPU; units are numbered through all groups."""
        units = (cpu for group in self.groups for cpu in group.cpu_map)
        pairs = sorted((cpu, unit) for unit, cpu in enumerate(units) if cpu is not None)
        return dict(pairs)

    def group_size_bytes(self, group: GroupInfo) -> int:
        """Return how much address space, and for the first chunk memory, the group takes."""
        return group.nr_units * self.unit_size_bytes

    def unit_offsets(self, group_base_offsets: Sequence[int] | None = None) -> tuple[int, ...]:
        """Return the offset in bytes of each CPU's unit from the lowest group.

        group_base_offsets says where the groups lie from the lowest one; None: back to back. The
        tuple has nr_cpu_ids entries; a number that is not a possible CPU keeps the 0 of a fresh
        array.
        """
        if group_base_offsets is None:
            group_base_offsets = [group.base_offset_bytes for group in self.groups]
        offsets = [0] * (1 + max(cpu for g in self.groups for cpu in g.cpu_map if cpu is not None))
        for group, base in zip(self.groups, group_base_offsets, strict=True):
            for unit, cpu in enumerate(group.cpu_map):
                if cpu is not None:
                    offsets[cpu] = base + unit * self.unit_size_bytes
        return tuple(offsets)

    def reserved_region(self) -> Region | None:
        """Return what the reserved chunk serves (module variables), None if there is none."""
        if not self.reserved_size_bytes:
            return None
        return Region.around(
            offset_bytes=self._static_end_bytes, size_bytes=self.reserved_size_bytes
        )

    def dynamic_region(self) -> Region:
        """Return what the first chunk serves."""
        static_end = self._static_end_bytes
        return Region.around(
            offset_bytes=static_end + self.reserved_size_bytes,
            size_bytes=self.dyn_size_bytes - (static_end - self.static_size_bytes),
        )

    @property
    def _static_end_bytes(self) -> int:
        return align_up(self.static_size_bytes, MIN_ALLOC_SIZE_BYTES)

    def dump_lines(self) -> tuple[str, ...]:
        """Return the layout as the kernel prints it at level 7, trailing blanks and all."""
        nr_possible = sum(cpu is not None for group in self.groups for cpu in group.cpu_map)
        cpu_width = len(str(nr_possible))
        group_width = len(str(len(self.groups)))
        spare = "-" * min(cpu_width, DUMP_EMPTY_WIDTH_MAX)
        pieces = [
            f"[{number:0{group_width}d}] "
            + "".join(
                f"{spare if cpu is None else f'{cpu:0{cpu_width}d}'} "
                for cpu in group.cpu_map[unit : unit + self.upa]
            )
            for number, group in enumerate(self.groups)
            for unit in range(0, group.nr_units, self.upa)
        ]
        fitting = max(DUMP_LINE_WIDTH // (self.upa * (cpu_width + 1) + group_width + 3), 1)
        per_line = 1 << fitting.bit_length() - 1
        head = (
            f"pcpu-alloc: s{self.static_size_bytes} r{self.reserved_size_bytes} "
            f"d{self.dyn_size_bytes} u{self.unit_size_bytes} "
            f"alloc={self.alloc_size_bytes // self.atom_size_bytes}*{self.atom_size_bytes}"
        )
        return head, *(
            "pcpu-alloc: " + "".join(pieces[at : at + per_line])
            for at in range(0, len(pieces), per_line)
        )


def build_alloc_info(
    *,
    static_size_bytes: int,
    reserved_size_bytes: int,
    dyn_size_bytes: int,
    atom_size_bytes: int,
    cpus: Sequence[int],
    distance: DistanceFn | None = None,
    node_of: NodeFn | None = None,
    dyn_early_size_bytes: int = DYNAMIC_EARLY_BYTES,
) -> AllocInfo:
    """Return the layout for the possible cpus.

    Groups come from distance(a, b), which must say LOCAL_DISTANCE both ways, or from
    node_of(cpu): the same groups as a distance that is local on a node, found without comparing
    every pair. With neither, all CPUs are one group.
    Source: Linux 6.1 mm/percpu.c, pcpu_build_alloc_info().
    """
    if distance is not None and node_of is not None:
        raise ValueError("build_alloc_info(): expected distance or node_of, not both")
    fixed_bytes = static_size_bytes + reserved_size_bytes
    sum_bytes = align_up(fixed_bytes + max(dyn_size_bytes, dyn_early_size_bytes), PAGE_SIZE_BYTES)
    min_unit_bytes = max(sum_bytes, MIN_UNIT_SIZE_BYTES)
    return lay_out_units(
        static_size_bytes=static_size_bytes,
        reserved_size_bytes=reserved_size_bytes,
        dyn_size_bytes=sum_bytes - fixed_bytes,
        min_unit_bytes=min_unit_bytes,
        atom_size_bytes=atom_size_bytes,
        grouped=group_cpus(sorted(cpus), distance, node_of),
    )


def lay_out_units(
    *,
    static_size_bytes: int,
    reserved_size_bytes: int,
    dyn_size_bytes: int,
    min_unit_bytes: int,
    atom_size_bytes: int,
    grouped: Sequence[Sequence[int]],
) -> AllocInfo:
    """Return the layout for CPUs in groups, whose units have at least min_unit_bytes.

    dyn_size_bytes is the effective size already. Source: the second half of pcpu_build_alloc_info(),
    the same from Linux 2.6.32 to 6.1.
    """
    alloc_bytes = align_up(min_unit_bytes, atom_size_bytes)
    upa = _best_upa([len(group) for group in grouped], alloc_bytes, min_unit_bytes)
    return AllocInfo(
        static_size_bytes=static_size_bytes,
        reserved_size_bytes=reserved_size_bytes,
        dyn_size_bytes=dyn_size_bytes,
        unit_size_bytes=alloc_bytes // upa,
        atom_size_bytes=atom_size_bytes,
        alloc_size_bytes=alloc_bytes,
        upa=upa,
        groups=_lay_groups(grouped, upa, alloc_bytes // upa),
    )


def group_cpus(
    cpus: Sequence[int], distance: DistanceFn | None, node_of: NodeFn | None
) -> list[list[int]]:
    """Return the groups in order of their lowest CPU, each ascending."""
    if node_of is not None:
        by_node: dict[int, list[int]] = {}
        for cpu in cpus:
            by_node.setdefault(node_of(cpu), []).append(cpu)
        return list(by_node.values())
    if distance is None:
        return [list(cpus)]
    groups: list[list[int]] = []
    remaining = list(cpus)
    while remaining:
        # Only the group's first CPU is asked: "local to" need not be transitive.
        first = remaining[0]
        group = [first]
        others: list[int] = []
        for cpu in remaining[1:]:
            is_local = (
                distance(first, cpu) == LOCAL_DISTANCE and distance(cpu, first) == LOCAL_DISTANCE
            )
            (group if is_local else others).append(cpu)
        groups.append(group)
        remaining = others
    return groups


def _best_upa(group_counts: Sequence[int], alloc_bytes: int, min_unit_bytes: int) -> int:
    """Return how many units share an allocation: fewest allocations, then largest units."""
    nr_possible = sum(group_counts)
    best, last_allocs = 0, nr_possible * alloc_bytes
    for upa in range(alloc_bytes // min_unit_bytes, 0, -1):
        if alloc_bytes % upa or alloc_bytes // upa % PAGE_SIZE_BYTES:
            continue
        allocs = sum(div_ceil(count, upa) for count in group_counts)
        if allocs * upa - nr_possible > nr_possible // 3:
            continue
        if allocs > last_allocs:
            break
        best, last_allocs = upa, allocs
    return best


def _lay_groups(
    grouped: Sequence[Sequence[int]], upa: int, unit_size_bytes: int
) -> tuple[GroupInfo, ...]:
    groups: list[GroupInfo] = []
    nr_units = 0
    for cpus in grouped:
        group_units = align_up(len(cpus), upa)
        spare: tuple[None, ...] = (None,) * (group_units - len(cpus))
        groups.append(GroupInfo(group_units, nr_units * unit_size_bytes, (*cpus, *spare)))
        nr_units += group_units
    return tuple(groups)


def max_distance_bytes(info: AllocInfo, group_addrs: Sequence[int]) -> int:
    """Return how far the first chunk reaches: from the lowest group to the end of the highest.

    Every later chunk needs a hole of this shape in vmalloc space.
    """
    highest = max(range(len(group_addrs)), key=lambda group: group_addrs[group])
    group_bytes = info.group_size_bytes(info.groups[highest])
    return group_addrs[highest] - min(group_addrs) + group_bytes


def is_too_wide(max_distance: int, *, vmalloc_total_bytes: int) -> bool:
    """Say whether the first chunk reaches over more than 75 % of vmalloc space.

    The kernel then gives the embedded first chunk up and builds it page by page.
    """
    return max_distance > vmalloc_total_bytes * 3 // 4
