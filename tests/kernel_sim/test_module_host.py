"""The machine as the loader sees it: memory, protections, symbols, and every CPU's copy."""

from __future__ import annotations

import pytest

from kernel_sim.mm.gfp import GFP_KERNEL
from kernel_sim.mm.paging import NX, RW
from kernel_sim.module_host import MachineModuleHost
from kernel_sim.modules.host import RO, ROX
from kernel_sim.primitives import run_undisturbed
from tests.kernel_sim.whole_machines import KINDS, Whole


def host_of(whole: Whole) -> MachineModuleHost:
    return MachineModuleHost(whole.machine)


@pytest.mark.parametrize("kind", list(KINDS))
def test_memory_comes_from_the_module_space_and_goes_back(kind: str) -> None:
    whole = Whole(kind)
    host, machine = host_of(whole), whole.machine
    before = whole.account()
    addr = run_undisturbed(host.module_alloc(1, 10000))
    assert addr and machine.module_space.start <= addr <= machine.module_space.end
    host.write(2, addr + 4090, b"across a page")
    assert host.read(3, addr + 4090, 13) == b"across a page"
    whole.check()
    call = whole.give(0, "vfree", addr)
    machine.run_call(call)
    whole.drain()
    assert whole.account() == before


def test_protections_are_set_in_the_entries() -> None:
    whole = Whole()
    host, space = host_of(whole), whole.machine.space
    addr = run_undisturbed(host.module_alloc(0, 8192))
    assert addr

    def flags() -> tuple[bool, bool]:
        found = space.find_translation(addr)
        assert found is not None
        return bool(found.flags & RW), bool(found.flags & NX)

    for kind, expected in ((ROX, (False, False)), (RO, (False, True)), ("RW", (True, True))):
        assert host.set_memory(0, addr, 2, kind)
        assert flags() == expected


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_copies_of_a_variable_are_where_the_registers_say(kind: str) -> None:
    whole = Whole(kind)
    host = host_of(whole)
    ptr = run_undisturbed(host.pcpu_alloc(0, 64, 8, False, GFP_KERNEL, "f"))
    assert ptr
    for cpu in host.possible_cpus:
        host.write(0, host.per_cpu_addr(ptr, cpu), bytes([cpu + 1]) * 8)
    for cpu in host.possible_cpus:
        value = whole.call("this_cpu_read", ptr, 8, cpu=cpu)
        assert value.to_bytes(8, "little") == bytes([cpu + 1]) * 8
    run_undisturbed(host.free_percpu(0, ptr))
    whole.check()


@pytest.mark.parametrize("kind", ["x86-64", "i386-pae"])
def test_symbols_are_the_machines(kind: str) -> None:
    host = host_of(Whole(kind))
    assert host.kernel_symbol("kernel_func") == host.machine.symbols["kernel_func"]
    assert host.kernel_symbol("no_such_thing") is None
    assert host.is_percpu_symbol("kernel_percpu")
    assert not host.is_percpu_symbol("kernel_func")
    assert not host.is_percpu_symbol("no_such_thing")


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_reference_in_a_loaded_module_reaches_the_right_copy(kind: str) -> None:
    """The initial image of a module's variable is in every CPU's copy, and only that CPU's changes."""
    whole = Whole(kind)
    assert whole.load("counter") == 0
    module = whole.machine.modules.find_module("counter")
    assert module is not None
    at = module.percpu_ptr + next(
        symbol.value - module.percpu_ptr
        for symbol in module.symbols
        if symbol.name == "counter_global"
    )
    assert [whole.call("this_cpu_read", at, 4, cpu=cpu) for cpu in range(4)] == [7, 7, 7, 7]
    whole.call("this_cpu_add", at, 5, 4, cpu=2)
    assert [whole.call("per_cpu", at, cpu, 4) for cpu in range(4)] == [7, 7, 12, 7]
    whole.check()


def test_what_a_module_says_and_tells_is_the_machines() -> None:
    whole = Whole()
    host = host_of(whole)
    host.printk(1, 4, "hello")
    assert whole.machine.kernel_log[-1] == (4, "hello")
    assert (host.arch, host.page_size, host.possible_cpus) == ("x86-64", 4096, (0, 1, 2, 3))
