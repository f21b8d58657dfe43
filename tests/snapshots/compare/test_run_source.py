"""A run's inputs and events as work: who means which area, in the order in which it happened."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_sim.boot import boot
from kernel_sim.percpu.catalogue import CATALOGUE
from snapshots.compare.run_source import _Area, _Areas, workload_of_run
from snapshots.compare.workload import (
    Access,
    Alloc,
    CpuDown,
    CpuUp,
    Free,
    ModuleAccess,
    ModuleLoad,
    ModuleUnload,
    StaticAccess,
    Workload,
)
from snapshots.timeline import Timeline
from tests.kernel_sim.percpu.any_system import machine_of_system
from tests.snapshots.conftest import small_config

GFP_KERNEL, GFP_ATOMIC = 0xCC0, 0xA20
OBJECTS = Path(__file__).parents[2] / "modules" / "objects"


def work_of(timeline: Timeline) -> Workload:
    return workload_of_run(timeline, name="run", origin="test")


def allocate(timeline: Timeline, cpu: int, size: int, gfp: int = GFP_KERNEL) -> int:
    call = timeline.take("pcpu_alloc", cpu, (size, 8, False, gfp, "test"))
    assert call is not None
    assert isinstance(call.result, int)
    return call.result


def test_allocations_uses_and_frees_name_the_same_area() -> None:
    timeline = Timeline(boot(small_config(cpus=2)))
    one, two = allocate(timeline, 0, 64), allocate(timeline, 1, 100, GFP_ATOMIC)
    timeline.take("this_cpu_write", 1, (two + 96, 1, 4))
    timeline.take("this_cpu_read", 0, (one, 8))
    timeline.take("per_cpu", 0, (two, 1, 8))
    timeline.take("free_percpu", 1, (one,))
    again = allocate(timeline, 0, 64)
    assert again == one
    timeline.take("this_cpu_add", 0, (again + 8, 1, 8))
    start = timeline.machine.percpu.percpu_start
    timeline.take("this_cpu_read", 1, (start + 16, 8))
    assert work_of(timeline).operations == (
        Alloc(1, 64, 8, False, 0),
        Alloc(2, 100, 8, True, 1),
        Access(2, 1, 1, True),
        Access(1, 0, 0, False),
        Access(2, 0, 1, False),
        Free(1, 1),
        Alloc(3, 64, 8, False, 0),
        Access(3, 0, 0, True),
        StaticAccess(16, 1, 1, False),
    )


def test_what_no_operation_stands_for_is_counted() -> None:
    timeline = Timeline(boot(small_config()))
    one = allocate(timeline, 0, 64)
    timeline.take("kmalloc_node", 0, (64, GFP_KERNEL, -1))
    timeline.take("kmalloc_node", 0, (64, GFP_KERNEL, -1))
    timeline.take("this_cpu_read", 0, (one + 64, 8))
    work = work_of(timeline)
    assert work.left_out == {"kmalloc_node": 2, "this_cpu_read of nothing that lives": 1}
    assert work.counts == {"Alloc": 1}


def test_a_request_that_failed_is_asked_again_and_nothing_frees_it() -> None:
    timeline = Timeline(boot(small_config()))
    timeline.take("fail_pages", 0, (0,))
    assert allocate(timeline, 0, 32768) == 0
    work = work_of(timeline)
    assert work.operations == (Alloc(1, 32768, 8, False, 0),)


def test_many_segments_and_a_timeline_that_stands_in_the_past() -> None:
    timeline = Timeline(boot(small_config()))
    for _ in range(900):
        timeline.take("free_percpu", 0, (allocate(timeline, 0, 16),))
    end = timeline.step
    assert len(timeline.heads) > 2
    timeline.seek(timeline.first_step)
    work = work_of(timeline)
    assert work.counts == {"Alloc": 900, "Free": 900}
    assert [each[0] for each in work.operations] == [n for n in range(1, 901) for _ in range(2)]
    assert timeline.step == timeline.first_step < end


def test_interleaved_calls_keep_the_kernels_order() -> None:
    timeline = Timeline(boot(small_config(cpus=2)))
    for cpu in (0, 1, 0, 1):
        timeline.give("pcpu_alloc", cpu, (32, 8, False, GFP_KERNEL, "test"))
    timeline.advance(1 << 60)
    work = work_of(timeline)
    assert [each.cpu for each in work.operations if isinstance(each, Alloc)] == [0, 1, 0, 1]


def test_cpus_that_go_and_come() -> None:
    timeline = Timeline(boot(small_config(cpus=2)))
    timeline.take("cpu_down", 0, (1,))
    timeline.take("cpu_up", 0, (1,))
    assert work_of(timeline).operations == (CpuDown(1), CpuUp(1))


def test_a_module_comes_with_its_section_and_goes() -> None:
    image = (OBJECTS / "exporter-x86-64.o").read_bytes()
    plain = (OBJECTS / "plain-x86-64.o").read_bytes()
    timeline = Timeline(boot(small_config(cpus=2)))
    script = "init: a = pcpu_alloc 64 8\nexit: free_percpu a"
    timeline.take("load_module", 1, (image, "given", script))
    timeline.take("load_module", 1, (plain, "plain", ""))  # has no section: nothing is asked
    mod = timeline.machine.modules.modules[-1]
    timeline.take("this_cpu_write", 1, (mod.percpu_ptr, 1, 4))
    timeline.take("delete_module", 0, (mod.name,))
    work = work_of(timeline)
    assert work.operations == (
        ModuleLoad("given", 4, 4, 1, 1),
        Alloc(2, 64, 8, False, 1),
        ModuleAccess("given", 1, 1, True),
        Free(2, 0),
        ModuleUnload("given", 0),
    )
    assert not work.notes


def test_a_section_that_nobody_tells_of_has_one_variable_and_it_is_said() -> None:
    timeline = Timeline(boot(small_config()))
    timeline.take("pcpu_alloc", 0, (48, 8, True, GFP_KERNEL, "test"))
    work = work_of(timeline)
    assert work.operations == (ModuleLoad("section_1", 48, 8, 1, 0),)
    assert "one each is assumed" in work.notes[0]


# -- areas by pointer ----------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 12), st.booleans()), max_size=40))
def test_areas_agree_with_a_list_that_is_searched(steps: list[tuple[int, int, bool]]) -> None:
    areas, slow = _Areas(), list[_Area]()
    for number, (ptr, size, adds) in enumerate(steps):
        if adds:
            new = _Area(ptr, size, number)
            hit = [a for a in slow if a.ptr < ptr + size and ptr < a.ptr + a.size_bytes]
            assert sorted(areas.add(new), key=lambda a: a.ptr) == sorted(hit, key=lambda a: a.ptr)
            slow = [a for a in slow if a not in hit] + [new]
        else:
            gone = next((a for a in slow if a.ptr == ptr), None)
            assert areas.remove(ptr) == gone
            slow = [a for a in slow if a is not gone]
        for at in range(75):
            wanted = next((a for a in slow if a.ptr <= at < a.ptr + a.size_bytes), None)
            assert areas.find(at) == wanted


@pytest.mark.parametrize(
    "name", ["legacy-static", "block-2005", "rostedt-2006-modules", "rostedt-2006-vm"]
)
def test_systems_of_before_2009_are_read_as_they_ran(name: str) -> None:
    """Disguised pointers lie close together; sections of modules have no event of their own."""
    timeline = Timeline(machine_of_system(CATALOGUE[name], "i386"))
    one, two = allocate(timeline, 0, 64), allocate(timeline, 1, 2000)
    timeline.take("this_cpu_write", 1, (two, 1, 4))
    timeline.take("load_module", 0, ((OBJECTS / "wide-i386.o").read_bytes(), "wide", ""))
    timeline.take("delete_module", 0, ("wide",))
    timeline.take("free_percpu", 0, (one,))
    assert timeline.machine.fault is None
    operations = work_of(timeline).operations
    section = next(each for each in operations if isinstance(each, ModuleLoad))
    assert section.name == "wide" and section.size_bytes > 0 and section.nr_variables > 0
    assert operations == (
        Alloc(1, 64, 8, False, 0),
        Alloc(2, 2000, 8, False, 1),
        Access(2, 1, 1, True),
        section,
        ModuleUnload("wide", 0),
        Free(1, 0),
    )
