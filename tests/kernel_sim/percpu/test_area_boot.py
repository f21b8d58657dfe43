"""Memory of first chunks: where it lies, what is given back, what stays mapped twice."""

from __future__ import annotations

from typing import Any

import pytest

from kernel_sim.errors import ConfigError
from tests.kernel_sim.percpu.area_kernel import KIB, AreaKernel, area_config

LARGE = 2 << 20


def frames_of(kernel: AreaKernel, cpu: int, nr_bytes: int) -> list[int | None]:
    base = kernel.percpu.base_addr + kernel.machine.places.unit_offsets[cpu]
    found = [kernel.machine.space.translate(base + at) for at in range(0, nr_bytes, 4096)]
    return [None if phys is None else phys >> 12 for phys in found]


def states(kernel: AreaKernel, pfns: list[int | None]) -> set[str]:
    return {kernel.machine.pages.owner_state_of(pfn) for pfn in pfns if pfn is not None}


@pytest.mark.parametrize("arch", ["x86-64", "i386"])
def test_an_embedded_unit_gives_its_end_back(arch: str) -> None:
    kernel = AreaKernel(arch=arch)
    used = kernel.machine.alloc_info.size_sum_bytes
    for cpu in range(4):
        pfns = frames_of(kernel, cpu, 64 * KIB)
        assert states(kernel, pfns[: used // 4096]) == {"reserved"}
        if cpu < 2:  # the last ends became page tables
            assert states(kernel, pfns[used // 4096 :]) == {"free"}
    assert not kernel.machine.vmalloc.areas
    kernel.check()


def test_each_group_lies_on_its_node_and_later_chunks_repeat_the_distances() -> None:
    kernel = AreaKernel(nr_nodes=2, percpu={"atom_bytes": LARGE})
    offsets = kernel.machine.places.unit_offsets
    for cpu in range(4):
        assert kernel.node_at(kernel.percpu.base_addr + offsets[cpu]) == cpu // 2
    chunk = kernel.new_chunk()
    assert len(chunk.data) == 2
    assert chunk.data[1] - chunk.data[0] == offsets[2] - offsets[0]
    kernel.check()


@pytest.mark.parametrize("stage", [".31", ".32"])
def test_single_pages_fill_the_whole_unit(stage: str) -> None:
    kernel = AreaKernel(percpu={"first_chunk": "page"}, stage=stage)
    for cpu in range(4):
        pfns = frames_of(kernel, cpu, 64 * KIB)
        assert None not in pfns and states(kernel, pfns) == {"reserved"}
    assert kernel.machine.vmalloc.areas[0].caller == "pcpu_page_first_chunk"
    kernel.check()


def test_the_first_commit_has_pages_for_static_variables_only() -> None:
    kernel = AreaKernel(stage="v1")
    for cpu in range(4):
        pfns = frames_of(kernel, cpu, 64 * KIB)
        assert [pfn is None for pfn in pfns] == [False] * 5 + [True] * 11
    kernel.check()


def test_one_large_page_for_each_cpu_whose_end_is_mapped_twice() -> None:
    kernel = AreaKernel(stage="v1", lpage=True)
    info = kernel.machine.alloc_info
    assert info.unit_size_bytes == LARGE
    used_pages = info.size_sum_bytes >> 12
    for cpu in range(4):
        base = kernel.percpu.base_addr + cpu * LARGE
        leaf = kernel.machine.space.find_leaf(base)
        assert leaf is not None and leaf[2] == 21
        pfns = frames_of(kernel, cpu, LARGE)
        assert states(kernel, pfns[:used_pages]) == {"reserved"}
        assert "free" in states(kernel, pfns[used_pages:]), "or a page table since"
        first = pfns[0]
        assert first is not None
        phys = first << 12
        assert kernel.machine.space.translate(kernel.machine.arch.direct_map_addr + phys) == phys
    kernel.check()


def test_large_pages_are_shared_by_cpus_of_a_node_in_2_6_31() -> None:
    kernel = AreaKernel(stage=".31", nr_nodes=2, nr_cpus=8)
    info = kernel.machine.alloc_info
    assert info.upa == 4 and len(info.groups) == 2
    pages = {cpu: (frames_of(kernel, cpu, 4096)[0] or 0) >> 9 for cpu in range(8)}
    assert len({pages[cpu] for cpu in range(4)}) == len({pages[cpu] for cpu in range(4, 8)}) == 1
    assert pages[0] != pages[4]
    assert [kernel.node_at(kernel.percpu.base_addr + at) for at in kernel.machine.places.unit_offsets] == [
        0, 0, 0, 0, 1, 1, 1, 1,
    ]  # fmt: skip
    kernel.check()


def test_before_groups_a_later_chunk_is_one_area() -> None:
    kernel = AreaKernel(stage=".31", nr_nodes=2, nr_cpus=8)
    chunk = kernel.new_chunk()
    info = kernel.machine.alloc_info
    (start,) = chunk.data
    area = kernel.machine.vmalloc.area_of(start)
    assert area.size_bytes == info.nr_units * info.unit_size_bytes + 4096, "and its guard page"
    assert area.caller == "alloc_pcpu_chunk"


def test_groups_too_far_apart_are_built_of_pages() -> None:
    wishes: dict[str, Any] = {
        "arch": "i386",
        "nr_nodes": 2,
        "mib": 128,
        "percpu": {"first_chunk": "embed"},
        "tables": {"vmalloc": {"start": "0xf8800000", "end": "0xfbffffff"}},
    }
    kernel = AreaKernel(**wishes)
    assert kernel.system.plan.how == "page"
    assert [area.caller for area in kernel.machine.vmalloc.areas] == ["pcpu_page_first_chunk"]
    kernel.check()


def test_no_memory_for_large_pages_is_said() -> None:
    with pytest.raises(ConfigError, match="no large page for cpu"):
        AreaKernel(stage="v1", lpage=True, mib=8, nr_cpus=8)


def test_spare_units_of_large_pages_are_given_back() -> None:
    kernel = AreaKernel(stage=".31", nr_nodes=1, nr_cpus=3, lpage=True)
    info = kernel.machine.alloc_info
    cpus = [cpu for group in info.groups for cpu in group.cpu_map]
    assert len(cpus) * info.unit_size_bytes == LARGE * (len(cpus) // info.upa)
    kernel.check()


def test_the_description_survives_its_mapping() -> None:
    config = area_config(stage="v1", lpage=True)
    again = type(config).from_mapping(config.to_mapping(), where="again")
    assert again == config
