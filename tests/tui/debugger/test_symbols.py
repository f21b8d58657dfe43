from __future__ import annotations

from collections.abc import Callable

import pytest

from kernel_sim.modules.module import Module, ModuleSymbol
from tests.tui.debugger.conftest import OBJECTS
from tui.debugger.session import Session
from tui.debugger.symbols import (
    find_symbol,
    image_symbol_at,
    module_at,
    module_variable_at,
    percpu_symbol_at,
    percpu_symbols,
    with_offset,
)

RUNQUEUES = 0x31C40  # in the static part of the demo's real kernel


def test_the_nearest_image_symbol_is_the_last_one_at_or_before_an_address(session: Session) -> None:
    machine = session.machine
    at = machine.symbol("__per_cpu_offset")
    assert image_symbol_at(machine, at) == "__per_cpu_offset"
    assert image_symbol_at(machine, at + 24) == "__per_cpu_offset+0x18"
    assert image_symbol_at(machine, 0) == ""


def test_static_variables_of_a_real_kernel_have_their_real_names(demo: Session) -> None:
    machine = demo.machine
    assert (RUNQUEUES, "runqueues") in percpu_symbols(machine)
    assert percpu_symbol_at(machine, RUNQUEUES) == "runqueues"
    assert percpu_symbol_at(machine, RUNQUEUES + 8) == "runqueues+0x8"
    assert percpu_symbol_at(machine, 0) == "fixed_percpu_data"  # rather than __per_cpu_start
    assert find_symbol(machine, "runqueues") == (RUNQUEUES, True)


def test_a_symbol_of_i386_lies_in_the_image_and_is_found_by_its_offset(
    boot_example: Callable[[str], Session],
) -> None:
    machine = boot_example("i386-highmem").machine
    assert machine.symbols["__per_cpu_start"] > machine.arch.image_map_addr
    assert percpu_symbols(machine) == [(0, "__per_cpu_start")]
    assert percpu_symbol_at(machine, 4) == "__per_cpu_start+0x4"
    assert find_symbol(machine, "__per_cpu_offset") == (machine.symbols["__per_cpu_offset"], False)


def test_names_of_modules_are_found_too(session: Session, tell) -> None:
    tell(f"insmod {OBJECTS / 'plain-x86-64.o'} 'init: a = pcpu_alloc 64 8'")
    machine = session.machine
    module = machine.modules.modules[0]
    assert find_symbol(machine, "plain_get") == (module.core_addr, False)
    assert find_symbol(machine, "nobody") is None
    assert module_at(machine, module.core_addr + 3) is module
    assert module_at(machine, module.core_addr + module.core_size_bytes) is None
    assert module_variable_at(machine, module.variables["a"]) == (module, "*a")


@pytest.mark.parametrize(
    ("ptr", "name"), [(0x100, "x"), (0x103, "x+0x3"), (0x108, ""), (0x110, "y")]
)
def test_a_modules_own_variables_are_told_by_symbol_and_offset(
    session: Session, ptr: int, name: str
) -> None:
    module = Module("m", percpu_ptr=0x100, percpu_size_bytes=0x20)
    module.symbols = [
        ModuleSymbol("x", 0x100, 8, "d", True),
        ModuleSymbol("y", 0x110, 4, "d", True),
    ]
    session.machine.modules.modules.append(module)
    assert module_variable_at(session.machine, ptr) == (module, name)


def test_an_offset_is_written_only_where_there_is_one() -> None:
    assert (with_offset("a", 0), with_offset("a", 16)) == ("a", "a+0x10")
