"""Modules' copies, tables and pointers: allocated, filled, given back, and found by their address."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_sim.errors import DoubleFree, InvariantBroken
from kernel_sim.percpu.offset_tables import OffsetTables
from kernel_sim.percpu.protocol import MODALLOC_SAID
from kernel_sim.primitives import run_undisturbed
from tests.kernel_sim.percpu.rostedt_machine import Rostedt

NAME = "rostedt-2006-modules"


def tables_of(arch: str = "i386", **options: bool) -> OffsetTables:
    return OffsetTables(Rostedt.of(NAME, arch).machine, 128, **options)


def alloc(tables: OffsetTables, size: int, nr: int = 1, name: str = "m") -> int:
    return run_undisturbed(tables.percpu_modalloc(0, name, size, nr))


@pytest.mark.parametrize("arch", ["i386", "x86-64"])
def test_a_section_without_a_module_has_its_pointers_on_the_slab(arch: str) -> None:
    tables = tables_of(arch)
    taken = [row[:2] for row in tables.machine.slab.rows()]
    ptr = alloc(tables, 40, nr=5)
    made = tables.tables[ptr]
    assert made.has_own_pointers and made.nr_pointers == made.nr_written == 5
    assert tables.pointer_addr(ptr + 20, made) == made.pointers_addr
    tables.check()
    run_undisturbed(tables.percpu_modfree(0, ptr))
    assert [row[:2] for row in tables.machine.slab.rows()] == taken and tables.tables == {}


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(1, 3000), min_size=1, max_size=6), at=st.integers(0, 2999))
def test_copies_of_all_cpus_are_distinct_and_found(sizes: list[int], at: int) -> None:
    tables = tables_of()
    ptrs = [alloc(tables, size, name=f"m{number}") for number, size in enumerate(sizes)]
    spans: list[tuple[int, int]] = []
    for ptr, size in zip(ptrs, sizes, strict=True):
        offset = at % size
        found = tables.table_of(ptr + offset)
        assert found is not None and found.percpu_addr == ptr
        for cpu in range(8):
            addr = tables.copy_addr(ptr + offset, cpu)
            assert addr == ptr + offset + cpu * found.copy_bytes
            spans.append((addr - offset, addr - offset + size))
    spans.sort()
    assert all(first[1] <= second[0] for first, second in pairwise(spans))
    tables.check()


def test_what_is_no_modules_is_found_nowhere() -> None:
    tables = tables_of()
    ptr = alloc(tables, 40)
    assert tables.table_of(ptr + 128) is None and tables.copy_addr(ptr - 1, 0) is None
    with pytest.raises(DoubleFree, match="no module's copies"):
        run_undisturbed(tables.percpu_modfree(0, ptr + 4))


@pytest.mark.parametrize("nth", range(4))
def test_no_memory_for_one_of_three_leaves_none(nth: int) -> None:
    """3000 bytes for 8 CPUs, a table and pointers are three objects of three empty classes."""
    tables = tables_of("x86-64")
    before = [row for row in tables.machine.slab.rows() if row[1]]
    tables.machine.pages.fail_after = nth
    ptr = alloc(tables, 3000, nr=40)
    tables.machine.pages.fail_after = -1
    if ptr == MODALLOC_SAID:
        assert [row for row in tables.machine.slab.rows() if row[1]] == before
        assert tables.tables == {}
    lines = [text for _, text in tables.machine.kernel_log if "percpu data" in text]
    assert lines == (["Could not allocate 3072 bytes percpu data"] if nth == 0 else [])


def test_without_smp_there_is_one_copy_and_nothing_to_find_it() -> None:
    tables = tables_of(is_smp=False)
    ptr = alloc(tables, 100)
    made = tables.tables[ptr]
    assert (made.table_addr, made.pointers_addr, tables.nr_cpus) == (0, 0, 1)
    tables.check()
    run_undisturbed(tables.percpu_modfree(0, ptr))


def test_without_modules_nothing_is_given() -> None:
    tables = tables_of(has_modules=False)
    assert alloc(tables, 100) == MODALLOC_SAID
    assert tables.machine.kernel_log[-1] == (3, "m: no per-CPU data without CONFIG_MODULES")


@pytest.mark.parametrize(("arch", "times"), [("i386", 4), ("x86-64", 8)])
def test_the_posted_loop_fills_as_many_pointers_as_the_section_has_bytes(
    arch: str, times: int
) -> None:
    tables = tables_of(arch, overruns=True)
    made = tables.tables[alloc(tables, 100, nr=3)]
    assert made.nr_written == 3 * times
    with pytest.raises(InvariantBroken, match="counts bytes as pointers"):
        tables.check()
    tables.check_objects()
