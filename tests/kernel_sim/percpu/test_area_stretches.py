"""All memory as one list: every byte once, what is lost to rounding too."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from kernel_sim.percpu.stretch import (
    DYNAMIC,
    FREE,
    HOLE,
    MODULE,
    PADDING,
    RESERVED_ROOM,
    STATIC,
    Stretch,
)
from tests.kernel_sim.percpu.area_kernel import AreaKernel


def strips(kernel: AreaKernel) -> dict[str, list[Stretch]]:
    found: dict[str, list[Stretch]] = {}
    for stretch in kernel.system.stretches():
        found.setdefault(stretch.strip, []).append(stretch)
    return found


def row(stretches: list[Stretch]) -> list[tuple[str, int]]:
    return [(stretch.kind, stretch.size_bytes) for stretch in stretches]


def test_the_first_unit_in_all_its_parts() -> None:
    kernel = AreaKernel(percpu={"static_bytes": 17893})
    kernel.alloc(100, 8, reserved=True)
    kernel.alloc(50, 4)
    unit = strips(kernel)["first chunk, unit of cpu 2"]
    assert row(unit) == [
        (STATIC, 17893), (PADDING, 3), (MODULE, 100), (RESERVED_ROOM, 8089),
        (PADDING, 3), (DYNAMIC, 50), (FREE, 23014),
    ]  # fmt: skip
    assert sum(size for _, size in row(unit)) == 12 * 4096
    assert {stretch.cpu for stretch in unit} == {2}


def test_what_a_first_chunk_without_dynamic_part_loses() -> None:
    kernel = AreaKernel(percpu={"static_bytes": 45123, "dynamic_bytes": 0})
    unit = strips(kernel)["first chunk, unit of cpu 0"]
    assert row(unit) == [(STATIC, 45123), (RESERVED_ROOM, 8192), (PADDING, 14 * 4096 - 53315)]


def test_pages_behind_the_map_are_lost_too() -> None:
    kernel = AreaKernel(percpu={"first_chunk": "page"})
    unit = strips(kernel)["first chunk, unit of cpu 0"]
    assert row(unit)[-2:] == [(FREE, 2588), (PADDING, 65536 - 7 * 4096)]


@pytest.mark.parametrize("stage", ["mail", "v1"])
def test_the_static_chunk_has_pages_for_what_is_static(stage: str) -> None:
    kernel = AreaKernel(stage=stage)
    unit = row(strips(kernel)["first chunk, unit of cpu 0"])
    rest = (FREE, 20480 - 17892) if stage == "v1" else (PADDING, 20480 - 17892)
    assert unit == [(STATIC, 17892), rest, (HOLE, kernel.percpu.unit_size_bytes - 20480)]


def test_a_later_unit_has_areas_room_and_holes() -> None:
    kernel = AreaKernel()
    kernel.alloc(30000, 4)
    kernel.alloc(3000, 4)
    kernel.free(kernel.alloc(30000, 4))
    unit = row(strips(kernel)["chunk 1, unit of cpu 3"])
    assert unit == [(DYNAMIC, 30000), (FREE, 15 * 4096 - 30000), (HOLE, 4096)]


@pytest.mark.parametrize(
    "wishes",
    [
        {}, {"stage": "mail"}, {"stage": "v1"}, {"stage": ".31"}, {"stage": "v1", "lpage": True},
        {"stage": ".31", "lpage": True, "nr_cpus": 3}, {"percpu": {"first_chunk": "page"}},
        {"arch": "i386"}, {"system": "percpu-km-2010", "nr_cpus": 3}, {"pmd": "units", "mib": 256},
        {"nr_nodes": 2, "percpu": {"atom_bytes": 2 << 20}, "nr_cpus": 6},
    ],
)  # fmt: skip
def test_strips_lie_apart_and_end_to_end_and_pages_are_owned(wishes: dict[str, Any]) -> None:
    kernel = AreaKernel(**wishes)
    for size in (60000, 100, 65536, 3):
        kernel.alloc(size, 1)
    spans = []
    for stretches in strips(kernel).values():
        for before, after in itertools.pairwise(stretches):
            assert before.end == after.addr and before.size_bytes > 0
        spans.append((stretches[0].addr, stretches[-1].end))
    spans.sort()
    for (_, end), (start, _) in itertools.pairwise(spans):
        assert end <= start
    kernel.check()


def test_km_shows_spare_units_and_the_wasted_tail() -> None:
    kernel = AreaKernel("percpu-km-2010", nr_cpus=3, percpu={"atom_bytes": 1 << 18}, mib=256)
    assert kernel.machine.alloc_info.upa == 4
    kernel.alloc(65536, 1)
    found = strips(kernel)
    assert row(found["chunk 1, spare unit 3"]) == [(PADDING, 65536)]
    assert "chunk 1, wasted tail" not in found
    other = AreaKernel("percpu-km-2010", nr_cpus=3)
    other.alloc(65536, 1)
    assert row(strips(other)["chunk 1, wasted tail"]) == [(PADDING, 16 * 4096)]


def test_what_bookkeeping_takes() -> None:
    kernel = AreaKernel()
    lists = 16 * 2 * 8
    struct = 7 * 8 + 4 * 4 + 8
    before = kernel.system.metadata_bytes()
    assert before == lists + 2 * (struct + 2 * 4)
    kernel.alloc(65536, 1)
    assert kernel.system.metadata_bytes() == before + struct + 16 * 4
    early = AreaKernel(stage="v1").system.metadata_bytes()
    assert early == 15 * 16 + 7 * 8 + 4 * 4 + 16 * 4 * 8, "a pointer for each page of each CPU"
