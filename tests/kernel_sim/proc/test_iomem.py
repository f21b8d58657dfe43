"""Physical addresses as a tree."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kernel_sim.mm.phys_range import PhysRange
from kernel_sim.proc.iomem import IomemRow, iomem_rows, iomem_text


def test_lines_are_as_the_kernel_prints_them() -> None:
    rows = (
        IomemRow(0, 0x100000, 0x7FFDCFFF, "System RAM"),
        IomemRow(1, 0x1000000, 0x1E01D31, "Kernel code"),
        IomemRow(0, 0xFD00000000, 0xFFFFFFFFFF, "Reserved"),
    )
    assert iomem_text(rows).split("\n") == [
        "00100000-7ffdcfff : System RAM",
        "  01000000-01e01d31 : Kernel code",
        "fd00000000-ffffffffff : Reserved",
        "",
    ]


def test_nodes_that_touch_are_one_range(small_kernel: Any) -> None:
    rows = iomem_rows(small_kernel().machine)
    assert rows == (IomemRow(0, 0, (16 << 20) - 1, "System RAM"),)


def test_the_kernel_lies_where_its_symbols_say(small_kernel: Any) -> None:
    machine = small_kernel().machine
    base = machine.config.kernel.arch.image_map_addr
    machine.symbols |= {
        "_text": base + 0x100000,
        "_etext": base + 0x101234,
        "_sdata": base + 0x200000,  # its end is not known
        "__bss_start": base + (1 << 30),  # not in this machine's memory
        "__bss_stop": base + (1 << 30) + 1,
    }
    assert iomem_rows(machine)[1:] == (IomemRow(1, 0x100000, 0x101233, "Kernel code"),)


def test_a_map_of_the_firmware_is_shown_as_it_is(small_kernel: Any) -> None:
    machine = small_kernel().machine
    told = ((PhysRange(0, 0xFFF), "Reserved"), (PhysRange(0x1000, 0xFFFFFF), "System RAM"))
    memory = replace(machine.config.memory, map=told)
    machine.config = replace(machine.config, memory=memory)
    assert iomem_rows(machine) == tuple(IomemRow(0, *place, kind) for place, kind in told)
