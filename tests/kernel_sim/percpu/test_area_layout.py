"""Layouts of 2.6.34: rounding by what was asked of the dynamic part, groups by distance."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_sim.percpu.alloc_info_case import ERA_2_6_34, alloc_info_result
from kernel_sim.percpu.area_layout import DYN_AUTO, build_area_alloc_info, group_by_all
from tests.snapshots.conftest import GOLDEN, plain_lines

CASES = GOLDEN / "percpu-areamap" / "c01-alloc-info.jsonl.gz"


def test_every_recorded_layout() -> None:
    rows = [json.loads(line) for line in plain_lines(CASES)][1:]
    assert len(rows) == 44
    for row in rows:
        assert alloc_info_result(row["input"], era=ERA_2_6_34) == row["result"], row["input"]


@pytest.mark.parametrize(
    ("dyn", "effective", "unit"),
    [(DYN_AUTO, 4029, 65536), (0, 0, 65536), (20480, 24509, 77824), (1, 4029, 65536)],
)
def test_what_the_dynamic_part_comes_to(dyn: int, effective: int, unit: int) -> None:
    info = build_area_alloc_info(
        static_size_bytes=45123,
        reserved_size_bytes=8192,
        dyn_size_bytes=dyn,
        atom_size_bytes=4096,
        cpus=(0, 1),
    )
    assert (info.dyn_size_bytes, info.unit_size_bytes) == (effective, unit)


def test_later_kernels_have_smaller_units() -> None:
    info = build_area_alloc_info(
        static_size_bytes=20000,
        reserved_size_bytes=0,
        dyn_size_bytes=DYN_AUTO,
        atom_size_bytes=4096,
        cpus=(0,),
        min_unit_bytes=32768,
    )
    assert info.unit_size_bytes == 32768


def test_a_cpu_joins_a_group_only_if_all_its_members_are_local() -> None:
    """1 is local to 0 and to 2, but 0 and 2 are not local to each other."""
    far = {(0, 2), (2, 0)}
    assert group_by_all((0, 1, 2), lambda a, b: 20 if (a, b) in far else 10) == [[0, 1], [2]]
    assert group_by_all((0, 1), lambda a, b: 20 if a > b else 10) == [[0], [1]]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_nodes_make_the_same_groups_as_their_distances(nodes: list[int]) -> None:
    args = {
        "static_size_bytes": 45123,
        "reserved_size_bytes": 8192,
        "dyn_size_bytes": 20480,
        "atom_size_bytes": 2 << 20,
        "cpus": tuple(range(len(nodes))),
    }
    by_distance = build_area_alloc_info(
        **args,  # type: ignore[arg-type]
        distance=lambda a, b: 10 if nodes[a] == nodes[b] else 20,
    )
    by_node = build_area_alloc_info(**args, node_of=nodes.__getitem__)  # type: ignore[arg-type]
    assert by_distance == by_node
