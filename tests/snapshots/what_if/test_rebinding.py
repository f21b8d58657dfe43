"""Who gave a number: newest results first, freed ones too, and with the offset inside."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_sim.boot import boot
from kernel_sim.calls import SIGNATURES
from kernel_sim.inputs import Input
from kernel_sim.machine import Machine
from kernel_sim.mm.page import PAGE_SIZE_BYTES
from snapshots.what_if.rebinding import (
    ADDR,
    GIVES,
    PFN,
    PTR,
    TAKES,
    Extents,
    Reference,
    Results,
    extent_size,
    is_good,
    rebound,
)
from tests.snapshots.conftest import small_config

STRETCHES = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=30)


@pytest.fixture(scope="module")
def machine() -> Machine:
    return boot(small_config(cpus=4))


def call(do: str, *args: int | str | bool) -> Input:
    return Input(0, do, 0, args)


def found(results: Results, do_of: dict[int, str], do: str, *args: int) -> tuple[Reference, ...]:
    return results.references_of(call(do, *args), do_of)


@given(STRETCHES, st.integers(0, 90))
def test_the_newest_stretch_over_a_number_wins(stretches: list[tuple[int, int]], at: int) -> None:
    """The model: all stretches in a row; one that any newer one touches is forgotten as a whole."""
    extents = Extents()
    alive: list[tuple[int, int, int]] = []
    for producer, (start, length) in enumerate(stretches):
        end = start + length
        extents.add(start, end, producer)
        alive = [each for each in alive if each[1] <= start or end <= each[0]]
        alive.append((start, end, producer))
    wanted = next(((p, at - s) for s, e, p in alive if s <= at < e), None)
    assert extents.find(at) == wanted


def test_every_argument_that_is_taken_is_one_of_a_call() -> None:
    for do, places in TAKES.items():
        assert do in SIGNATURES
        assert all(place < len(SIGNATURES[do]) for place in places)
    assert all(do in SIGNATURES for do in GIVES)


def test_a_pointer_belongs_to_its_allocation_with_the_offset(machine: Machine) -> None:
    results = Results(machine)
    results.note(3, call("pcpu_alloc", 64, 8, False, 0, "x"), 0x1000)
    do_of = {3: "pcpu_alloc"}
    assert found(results, do_of, "free_percpu", 0x1000) == (Reference(0, 3, PTR, PTR, 0, 0),)
    assert found(results, do_of, "this_cpu_write", 0x1038, 1, 8)[0].offset == 0x38
    assert found(results, do_of, "this_cpu_write", 0x1040, 1, 8) == ()
    assert found(results, do_of, "kfree", 0x1000) == (), "a pointer is no address"


def test_an_address_of_one_cpus_copy_belongs_to_the_allocation(machine: Machine) -> None:
    results = Results(machine)
    results.note(3, call("pcpu_alloc", 64, 8, False, 0, "x"), 0x1000)
    addr = machine.per_cpu_offset(2) + 0x1008 & machine.arch.address_mask
    (reference,) = found(results, {3: "pcpu_alloc"}, "write", addr, 1, 8)
    assert reference == Reference(0, 3, PTR, ADDR, 2, 8)
    moved = machine.per_cpu_offset(2) + 0x2008 & machine.arch.address_mask
    assert rebound(reference, machine, "pcpu_alloc", 0x2000) == moved


def test_pages_are_found_by_pfn_and_in_the_direct_map(machine: Machine) -> None:
    results = Results(machine)
    results.note(1, call("alloc_pages", 1, 0, 0), 100)
    do_of = {1: "alloc_pages"}
    assert found(results, do_of, "free_pages", 100, 1) == (Reference(0, 1, PFN, PFN, 0, 0),)
    addr = machine.arch.direct_map_addr + 101 * PAGE_SIZE_BYTES + 5
    (reference,) = found(results, do_of, "read", addr, 1)
    assert (reference.have, reference.want) == (PFN, ADDR)
    assert rebound(reference, machine, "alloc_pages", 200) == addr + 100 * PAGE_SIZE_BYTES


def test_the_end_of_a_range_belongs_to_the_area_before_it(machine: Machine) -> None:
    results = Results(machine)
    results.note(0, call("vmalloc", 4096), 0x10000)
    references = found(results, {0: "vmalloc"}, "flush_tlb_kernel_range", 0x10000, 0x12000)
    assert [(each.argument, each.offset) for each in references] == [(0, 0), (1, 0x2000)]


def test_what_is_freed_is_still_meant_until_something_else_lies_there(machine: Machine) -> None:
    results = Results(machine)
    do_of = {0: "kmalloc_node", 5: "kmalloc_node"}
    results.note(0, call("kmalloc_node", 64, 0, -1), 0x5000)
    assert found(results, do_of, "kfree", 0x5000)[0].producer == 0
    assert found(results, do_of, "kfree", 0x5000)[0].producer == 0
    results.note(5, call("kmalloc_node", 32, 0, -1), 0x5000)
    assert found(results, do_of, "kfree", 0x5000)[0].producer == 5
    assert found(results, do_of, "read", 0x5030, 1) == ()


def test_a_free_means_the_area_that_began_there_even_if_another_covers_the_place(
    machine: Machine,
) -> None:
    results = Results(machine)
    do_of = {0: "pcpu_alloc", 1: "pcpu_alloc"}
    results.note(0, call("pcpu_alloc", 64, 8, False, 0, "x"), 0x1010)
    results.note(1, call("pcpu_alloc", 64, 8, False, 0, "x"), 0x1000)
    assert found(results, do_of, "free_percpu", 0x1010) == (Reference(0, 0, PTR, PTR, 0, 0),)
    assert found(results, do_of, "this_cpu_read", 0x1010, 8) == (Reference(0, 1, PTR, PTR, 0, 16),)


@pytest.mark.parametrize(
    ("do", "result", "good"),
    [("pcpu_alloc", 0, False), ("alloc_pages", -1, False), ("vmalloc", 4096, True),
     ("load_module", 0, True), ("load_module", -12, False)],
)  # fmt: skip
def test_a_failure_gives_nothing(machine: Machine, do: str, result: int, good: bool) -> None:
    assert is_good(GIVES[do], result) == good
    reference = Reference(0, 0, GIVES[do], GIVES[do], 0, 0)
    assert (rebound(reference, machine, do, result) is not None) == good


def test_another_call_gives_another_thing(machine: Machine) -> None:
    assert rebound(Reference(0, 0, PTR, PTR, 0, 0), machine, "vmalloc", 4096) is None
    assert rebound(Reference(0, 0, ADDR, ADDR, 0, 0), machine, "vmalloc", None) is None
    assert rebound(Reference(0, 0, ADDR, ADDR, 0, 4), machine, "kmalloc_node", 4096) == 4100


def test_an_area_has_its_guard_page_and_nothing_has_no_size() -> None:
    assert extent_size(call("vmalloc", 1)) == 2 * PAGE_SIZE_BYTES
    assert extent_size(call("alloc_pages", 3, 0, 0)) == 8
    assert extent_size(call("kmalloc_node", 0, 0, 0)) == 1
