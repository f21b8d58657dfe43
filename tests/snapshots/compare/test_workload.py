"""Operations without addresses, how they read, and the uses that are added where nobody uses anything."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshots.compare.workload import (
    Access,
    Alloc,
    CpuDown,
    CpuUp,
    Free,
    ModuleAccess,
    ModuleLoad,
    ModuleUnload,
    Operation,
    StaticAccess,
    Workload,
    operation_text,
    with_accesses,
)


@pytest.mark.parametrize(
    ("operation", "text"),
    [
        (Alloc(7, 64, 8, True, 2), "alloc #7 64 B align 8 atomic on cpu 2"),
        (Alloc(7, 64, 8), "alloc #7 64 B align 8 on cpu 0"),
        (Free(7, 1), "free #7 on cpu 1"),
        (Access(7, 1, 1, True), "cpu 1 writes its copy of #7"),
        (Access(7, 1, 3), "cpu 1 reads cpu 3's copy of #7"),
        (StaticAccess(192, 0, 0), "cpu 0 reads its copy of static+192"),
        (ModuleAccess("ipv6", 0, 1), "cpu 0 reads cpu 1's copy of module ipv6"),
        (
            ModuleLoad("ipv6", 512, 64, 3, 1),
            "load ipv6 512 B align 64 in 3 variables on cpu 1",
        ),
        (ModuleUnload("ipv6"), "unload ipv6 on cpu 0"),
        (CpuUp(2), "cpu 2 up"),
        (CpuDown(2), "cpu 2 down"),
    ],
)
def test_an_operation_reads_as_a_line(operation: Operation, text: str) -> None:
    assert operation_text(operation) == text


def test_operations_are_counted_by_kind() -> None:
    work = Workload("w", "test", (Alloc(1, 4, 4), Free(1), Alloc(2, 4, 4)))
    assert work.counts == {"Alloc": 2, "Free": 1}


def test_a_workload_with_accesses_stays_as_it_is() -> None:
    work = Workload("w", "test", (Alloc(1, 4, 4), Access(1, 0, 0)))
    assert with_accesses(work) is work


def test_uses_are_added_and_it_is_said() -> None:
    made = [Alloc(number, 8, 8) for number in range(1, 9)]
    work = with_accesses(Workload("w", "test", (*made, ModuleLoad("m", 8, 8, 1)), 2))
    assert work.counts == {
        "Alloc": 8,
        "Access": 10,
        "StaticAccess": 1,
        "ModuleLoad": 1,
        "ModuleAccess": 1,
    }
    assert work.notes[0].startswith("12 accesses were added")
    others = [
        each for each in work.operations if isinstance(each, Access) and each.cpu != each.owner
    ]
    assert [each.number for each in others] == [4, 8]


OPERATIONS = st.one_of(
    st.builds(Alloc, st.integers(1, 50), st.integers(1, 99), st.just(4)),
    st.builds(Free, st.integers(1, 50)),
    st.builds(CpuDown, st.integers(0, 2)),
    st.builds(CpuUp, st.integers(0, 2)),
)


@given(st.lists(OPERATIONS))
def test_only_cpus_that_are_up_use_anything_and_nothing_is_lost(
    given_ones: list[Operation],
) -> None:
    work = with_accesses(Workload("w", "test", tuple(given_ones), 3))
    uses = (Access, StaticAccess, ModuleAccess)
    assert [each for each in work.operations if not isinstance(each, uses)] == given_ones
    up = {0, 1, 2}
    for operation in work.operations:
        match operation:
            case CpuDown(cpu):
                up.discard(cpu)
            case CpuUp(cpu):
                up.add(cpu)
            case Access(_, cpu, owner) | StaticAccess(_, cpu, owner):
                assert {cpu, owner} <= up
