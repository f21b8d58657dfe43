from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_sim.config import MachineConfig
from kernel_sim.percpu.unit_layout import (
    AllocInfo,
    Region,
    build_alloc_info,
    is_too_wide,
    max_distance_bytes,
)

MIB = 1 << 20
RUNS = json.loads((Path(__file__).parents[2] / "golden" / "boot-lines.json").read_text())["runs"]
KNOWN_RUNS = [run for run in RUNS if "unit_map" in run]


def layout(
    cpus: list[int],
    *,
    node_of: Callable[[int], int] | None = None,
    distance: Callable[[int, int], int] | None = None,
    static_size_bytes: int = 176128,
    dyn_size_bytes: int = 28672,
    atom_size_bytes: int = 2 * MIB,
) -> AllocInfo:
    return build_alloc_info(
        static_size_bytes=static_size_bytes, reserved_size_bytes=8192,
        dyn_size_bytes=dyn_size_bytes, atom_size_bytes=atom_size_bytes,
        cpus=cpus, node_of=node_of, distance=distance,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("group_counts", "upa", "nr_units"),
    [([1], 1, 1), ([2], 2, 2), ([4], 4, 4), ([6], 8, 8), ([8], 8, 8), ([12], 8, 16),
     ([2, 2], 2, 4), ([3, 1], 1, 4), ([5, 3], 2, 10)],
)  # fmt: skip
def test_units_share_an_allocation_while_no_more_than_a_third_is_wasted(
    group_counts: list[int], upa: int, nr_units: int
) -> None:
    nodes = [node for node, count in enumerate(group_counts) for _ in range(count)]
    info = layout(list(range(len(nodes))), node_of=nodes.__getitem__)
    assert (info.upa, info.nr_units, info.unit_size_bytes) == (upa, nr_units, 2 * MIB // upa)


@pytest.mark.parametrize("run", KNOWN_RUNS, ids=[run["run"] for run in KNOWN_RUNS])
def test_units_lie_where_real_kernels_put_them(run: dict[str, Any]) -> None:
    info = MachineConfig.from_mapping(run["machine"], where=run["run"]).alloc_info()
    assert info.unit_size_bytes == run["unit_size"]
    assert list(info.unit_map.values()) == run["unit_map"]
    assert list(info.unit_offsets(run["group_offsets"])) == run["unit_offsets"]


def model_groups(cpus: list[int], distance: Callable[[int, int], int]) -> list[list[int]]:
    """Number the groups CPU by CPU, as obviously as can be."""
    group_of: dict[int, int] = {}
    groups: list[list[int]] = []
    for cpu in sorted(cpus):
        if cpu in group_of:
            continue
        members = [
            other
            for other in sorted(cpus)
            if other not in group_of
            and (other == cpu or (distance(cpu, other) == 10 and distance(other, cpu) == 10))
        ]
        group_of.update(dict.fromkeys(members, len(groups)))
        groups.append(members)
    return groups


def cpus_of(info: AllocInfo) -> list[list[int]]:
    return [[cpu for cpu in group.cpu_map if cpu is not None] for group in info.groups]


nodes_of_cpus = st.dictionaries(st.integers(0, 60), st.integers(0, 5), min_size=1, max_size=40)


@given(nodes_of_cpus, st.sampled_from([4096, 65536, 2 * MIB]), st.integers(1, 400_000))
def test_groups_by_node_are_those_of_a_distance_by_node(
    nodes: dict[int, int], atom_size_bytes: int, static_size_bytes: int
) -> None:
    sizes = {"atom_size_bytes": atom_size_bytes, "static_size_bytes": static_size_bytes}
    fast = layout(list(nodes), node_of=nodes.__getitem__, **sizes)  # type: ignore[arg-type]
    plain = layout(
        list(nodes),
        distance=lambda a, b: 10 if nodes[a] == nodes[b] else 20,
        **sizes,  # type: ignore[arg-type]
    )
    assert fast == plain


@given(st.integers(1, 8).flatmap(lambda n: st.lists(st.lists(
    st.sampled_from([10, 11, 20]), min_size=n, max_size=n), min_size=n, max_size=n)))  # fmt: skip
def test_cpus_group_with_the_first_that_is_local_both_ways(table: list[list[int]]) -> None:
    cpus = list(range(len(table)))

    def distance(a: int, b: int) -> int:
        return table[a][b]

    assert cpus_of(layout(cpus, distance=distance)) == model_groups(cpus, distance)


@given(nodes_of_cpus, st.integers(1, 400_000), st.integers(0, 100_000),
       st.sampled_from([4096, 65536, 2 * MIB]))  # fmt: skip
def test_every_cpu_has_one_unit_that_holds_all_parts(
    nodes: dict[int, int], static: int, dyn: int, atom: int
) -> None:
    info = layout(list(nodes), node_of=nodes.__getitem__, static_size_bytes=static,
                  dyn_size_bytes=dyn, atom_size_bytes=atom)  # fmt: skip
    assert sorted(cpu for group in cpus_of(info) for cpu in group) == sorted(nodes)
    assert info.unit_size_bytes * info.upa == info.alloc_size_bytes
    assert info.size_sum_bytes <= info.unit_size_bytes
    assert info.dyn_size_bytes >= max(dyn, 12288)
    assert all(group.nr_units % info.upa == 0 for group in info.groups)
    starts = [info.unit_offsets()[cpu] for cpu in nodes]
    assert len(dict.fromkeys(starts)) == len(nodes)
    assert starts == [info.unit_map[cpu] * info.unit_size_bytes for cpu in nodes]


@given(st.integers(1, 400_000), st.integers(0, 4096).map(lambda n: 4 * n))
def test_reserved_and_dynamic_parts_follow_the_static_one(static: int, reserved: int) -> None:
    info = build_alloc_info(
        static_size_bytes=static, reserved_size_bytes=reserved, dyn_size_bytes=0,
        atom_size_bytes=4096, cpus=[0],
    )  # fmt: skip
    dynamic = info.dynamic_region()
    start = dynamic.base_offset_bytes + dynamic.start_offset_bytes
    assert start == (static + 3) // 4 * 4 + reserved
    assert dynamic.end_offset_bytes == 0
    assert dynamic.base_offset_bytes + dynamic.nr_pages * 4096 == info.size_sum_bytes
    region = info.reserved_region()
    assert (region is None) == (reserved == 0)
    if region is not None:
        end = region.base_offset_bytes + region.nr_pages * 4096 - region.end_offset_bytes
        assert end == start


def test_a_region_is_widened_to_pages_on_both_sides() -> None:
    assert Region.around(offset_bytes=4100, size_bytes=4096) == Region(4096, 4, 4092, 2)
    assert Region.around(offset_bytes=4096, size_bytes=4096) == Region(4096, 0, 0, 1)


def test_the_early_size_depends_on_the_kernel() -> None:
    info = build_alloc_info(
        static_size_bytes=4096, reserved_size_bytes=0, dyn_size_bytes=0,
        atom_size_bytes=4096, cpus=[0], dyn_early_size_bytes=20480,
    )  # fmt: skip
    assert (info.dyn_size_bytes, info.unit_size_bytes) == (20480, 32768)


def test_numbers_that_are_no_cpu_keep_offset_zero_and_have_no_unit() -> None:
    info = layout([1, 3], atom_size_bytes=4096)
    assert info.unit_map == {1: 0, 3: 1}
    assert info.unit_offsets() == (0, 0, 0, info.unit_size_bytes)


def test_the_dump_fills_lines_of_sixty_columns_and_shows_spare_units() -> None:
    nodes = [0] * 5 + [1] * 5
    info = layout(list(range(10)), node_of=nodes.__getitem__)
    assert info.dump_lines() == (
        "pcpu-alloc: s176128 r8192 d28672 u1048576 alloc=1*2097152",
        "pcpu-alloc: [0] 00 01 [0] 02 03 [0] 04 -- [1] 05 06 ",
        "pcpu-alloc: [1] 07 08 [1] 09 -- ",
    )


def test_distance_runs_from_the_lowest_group_to_the_end_of_the_highest() -> None:
    nodes = [0, 0, 0, 1]
    info = layout([0, 1, 2, 3], node_of=nodes.__getitem__)
    assert [group.nr_units for group in info.groups] == [3, 1]
    assert max_distance_bytes(info, [0, 64 * MIB]) == 66 * MIB
    assert max_distance_bytes(info, [64 * MIB, 0]) == 70 * MIB


def test_three_quarters_of_vmalloc_space_is_the_limit() -> None:
    total = 0x1FFFFFFFFFFF
    assert not is_too_wide(0x17FFFFFFFFFF, vmalloc_total_bytes=total)
    assert is_too_wide(0x180000000000, vmalloc_total_bytes=total)


def test_grouping_has_one_source() -> None:
    with pytest.raises(ValueError, match="distance or node_of, not both"):
        layout([0], node_of=lambda cpu: 0, distance=lambda a, b: 10)


def test_the_largest_machine_is_grouped_by_node() -> None:
    info = layout(list(range(4096)), node_of=lambda cpu: cpu % 64)
    assert (len(info.groups), info.nr_units, info.upa) == (64, 4096, 8)
    assert info.groups[63].cpu_map[:3] == (63, 127, 191)
