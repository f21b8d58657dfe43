"""The kernel's pointers: which variable has which, and what the section may be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_sim.errors import ConfigError, InvariantBroken
from kernel_sim.percpu.kernel_pointers import KernelPointers
from kernel_sim.percpu.stretch import TABLE
from tests.kernel_sim.percpu.rostedt_machine import Rostedt

NAME = "rostedt-2006-modules"
START = 0xC2000000


@given(
    variables=st.sets(st.integers(0, 999), max_size=20),
    nr_more=st.integers(0, 50),
    offsets=st.lists(st.integers(0, 999), min_size=1, max_size=20),
)
def test_a_pointer_is_one_of_the_sections_and_the_same_for_a_whole_variable(
    variables: set[int], nr_more: int, offsets: list[int]
) -> None:
    named = tuple(START + at for at in sorted(variables))
    nr = max(len(named) + nr_more, 1)
    pointers = KernelPointers(0x1000, nr * 4, 4, START, 1000, named)
    for offset in offsets:
        addr = pointers.addr_of(START + offset)
        assert addr % 4 == 0 and 0x1000 <= addr < 0x1000 + nr * 4
        below = [at for at in named if at <= START + offset]
        if below:
            assert addr == 0x1000 + 4 * (len(below) - 1)


def test_the_sections_name_is_no_variable() -> None:
    machine = Rostedt.of(NAME, symbols={"__per_cpu_start": "0xc2000000"}).machine
    assert machine.system.kernel.variables == ()  # type: ignore[attr-defined]


def test_it_is_filled_drawn_and_checked() -> None:
    machine = Rostedt.of(NAME).machine
    pointers = KernelPointers.of(machine, 4368)
    assert (pointers.nr_pointers, pointers.stretch().kind) == (1092, TABLE)
    pointers.check(machine)
    phys = machine.space.translate(pointers.addr + 4364)
    assert phys is not None
    machine.memory.write(phys, b"\1")
    with pytest.raises(InvariantBroken, match="not all pointers"):
        pointers.check(machine)
    pointers.fill(machine)
    pointers.check(machine)
    with pytest.raises(ConfigError, match="expected a multiple of 4"):
        KernelPointers.of(machine, 4367)
