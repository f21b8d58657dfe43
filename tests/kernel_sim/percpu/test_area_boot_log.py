"""What each day's setup printed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kernel_sim.percpu.area_kernel import AreaKernel


def said(**wishes: Any) -> list[str]:
    kernel = AreaKernel(**wishes)
    base = f"{kernel.percpu.base_addr:0{2 * kernel.machine.arch.word_bytes}x}"
    return [
        line.replace(base, "BASE")
        for line in kernel.log()
        if "PERCPU" in line or "percpu" in line or "pcpu" in line or "nr_cpu_ids" in line
    ]


@pytest.mark.parametrize(
    ("wishes", "line"),
    [
        ({}, "<6>PERCPU: Embedded 12 pages/cpu @BASE s17892 r8192 d23068 u65536"),
        ({"arch": "i386"}, "<6>PERCPU: Embedded 10 pages/cpu @BASE s17892 r0 d23068 u65536"),
        ({"percpu": {"first_chunk": "page"}}, "<6>PERCPU: 16 4K pages/cpu @BASE s17892 r8192 d2588"),
        (
            {"percpu": {"first_chunk": "page"}, "stage": ".31"},
            "<6>PERCPU: 16 4k pages/cpu @BASE s17892 r8192",
        ),
        (
            {"stage": ".31", "lpage": True},
            "<6>PERCPU: large pages @BASE s17892 r8192 d23068 u524288",
        ),
        ({"stage": "v1"}, "<6>PERCPU: Allocated 20 4k pages, static data 17892 bytes"),
        (
            {"stage": "v1", "lpage": True},
            "<6>PERCPU: Remapped at BASE with large pages, static data 17892 bytes",
        ),
    ],
)  # fmt: skip
def test_the_line_of_the_builder(wishes: dict[str, Any], line: str) -> None:
    assert line in said(**wishes)


def test_the_layout_is_printed_from_2_6_32_on() -> None:
    assert said()[1:] == [
        "<6>PERCPU: Embedded 12 pages/cpu @BASE s17892 r8192 d23068 u65536",
        "<6>pcpu-alloc: s17892 r8192 d23068 u65536 alloc=16*4096",
        "<6>pcpu-alloc: [0] 0 [0] 1 [0] 2 [0] 3 ",
    ]
    assert not any("pcpu-alloc" in line for line in said(stage=".31"))


def test_the_limits_are_printed_first() -> None:
    assert said()[0].startswith("<6>setup_percpu: NR_CPUS:8 ")
    assert said(stage=".31")[0].startswith("<6>NR_CPUS:8 ")


def test_a_first_chunk_that_is_too_wide_complains() -> None:
    lines = said(
        arch="i386",
        nr_nodes=2,
        percpu={"first_chunk": "embed"},
        tables={"vmalloc": {"start": "0xf8800000", "end": "0xfbffffff"}},
    )
    assert lines[1].startswith("<4>PERCPU: max_distance=0x")
    assert lines[1].endswith("too large for vmalloc space 0x37fffff")
    assert lines[2].startswith("<4>setup_percpu: auto allocator failed (-22)")
    assert lines[3].startswith("<6>PERCPU: 16 4K pages/cpu @BASE")


def test_km_tells_its_waste_before_the_layout() -> None:
    lines = said(system="percpu-km-2010", nr_cpus=3)
    assert lines[2] == "<4>percpu: wasting 16 pages per chunk"
    assert lines[3].startswith("<6>pcpu-alloc: s17892")
