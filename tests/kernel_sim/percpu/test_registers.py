from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kernel_sim.errors import ConfigError
from kernel_sim.percpu.registers import load_registers, set_offset, write_at_boot


def test_every_cpu_finds_itself(small_kernel: Callable[..., Any]) -> None:
    machine = small_kernel().machine
    table = machine.symbol("__per_cpu_offset")
    for cpu in machine.topology.possible:
        assert machine.cpus[cpu].gs_base == machine.system.base_of(cpu)
        held = machine.access.read_int(cpu, table + 8 * cpu, 8)
        assert held == machine.per_cpu_offset(cpu)


def test_an_entry_can_be_set_and_is_put_right_by_loading_all(
    small_kernel: Callable[..., Any],
) -> None:
    machine = small_kernel().machine
    set_offset(machine, 1, 0x1234)
    addr = machine.symbol("__per_cpu_offset") + 8
    assert machine.access.read_int(0, addr, 8) == 0x1234
    load_registers(machine)
    assert machine.access.read_int(0, addr, 8) == machine.per_cpu_offset(1)


def test_a_symbol_where_nothing_is_mapped_is_the_descriptions_fault(
    small_kernel: Callable[..., Any],
) -> None:
    with pytest.raises(ConfigError, match="0x1000 is not mapped; expected an address"):
        write_at_boot(small_kernel().machine, 0x1000, 1, 8)
