"""percpu-km-2010: what boots, what is refused with which words, what a machine of it shows."""

from __future__ import annotations

import pytest

from kernel_sim.errors import ConfigError
from kernel_sim.mm.gfp import GFP_KERNEL
from kernel_sim.percpu.account import account_of
from kernel_sim.percpu.systems.percpu_km_2010 import NAME, km_plan
from tests.kernel_sim.percpu.area_kernel import AreaKernel, area_config


def test_more_groups_than_one_are_refused_in_the_kernels_words() -> None:
    with pytest.raises(ConfigError, match=r"can't handle more than one groups .*-EINVAL"):
        AreaKernel(NAME, nr_nodes=2)
    assert AreaKernel(NAME, nr_nodes=2, percpu={"distance_fn": False}).machine.is_idle


@pytest.mark.parametrize("arch", ["x86-64", "i386"])
def test_a_paged_first_chunk_is_refused_in_the_kernels_words(arch: str) -> None:
    text = "contiguous percpu allocation is incompatible with paged first chunk"
    with pytest.raises(ConfigError, match=text):
        AreaKernel(NAME, arch=arch, percpu={"first_chunk": "page"})


def test_its_first_chunk_is_that_of_chunk_2009() -> None:
    km, vm = AreaKernel(NAME), AreaKernel()
    assert km.machine.alloc_info == vm.machine.alloc_info
    for size in (100, 8, 4096, 3):
        assert km.alloc(size, 8) == vm.alloc(size, 8)


def test_36_kib_for_each_of_four_cpus_waste_28_pages() -> None:
    kernel = AreaKernel(
        NAME, min_unit_bytes=32768,
        percpu={"static_bytes": 36864, "reserved_bytes": 0, "dynamic_bytes": 0},
    )  # fmt: skip
    assert "<4>percpu: wasting 28 pages per chunk" in kernel.log()
    before = kernel.machine.pages.nr_free_pages
    assert kernel.alloc(32768, 1)
    assert before - kernel.machine.pages.nr_free_pages == 64
    assert account_of(kernel.machine).padding_bytes == 28 * 4096
    kernel.check()


def test_hot_plugging_changes_nothing() -> None:
    kernel = AreaKernel(NAME)
    ptr = kernel.alloc(65536, 1)
    kernel.call("this_cpu_write", ptr, 9, 4, cpu=2)
    assert kernel.call("cpu_down", 2) == 0
    assert kernel.call("cpu_up", 2) == 0
    assert kernel.call("this_cpu_read", ptr, 4, cpu=2) == 9


def test_a_parallel_run_ends_sound() -> None:
    kernel = AreaKernel(NAME)
    calls = [
        kernel.machine.give(cpu, "pcpu_alloc", (20000 + cpu, 8, False, GFP_KERNEL, ""))
        for cpu in range(4)
        for _ in range(4)
    ]
    kernel.machine.run(1 << 40)
    assert all(call.result for call in calls)
    assert len({call.result for call in calls}) == 16
    kernel.check()


def test_the_plan_is_that_of_the_day() -> None:
    plan = km_plan(area_config(NAME))
    assert plan.choices.stage.name == "2.6.35"
    assert plan.choices.stage.has_free_slot and plan.choices.stage.has_reserved
