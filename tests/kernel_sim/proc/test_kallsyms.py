"""Static per-CPU symbols."""

from __future__ import annotations

from typing import Any

from kernel_sim.proc.kallsyms import SymbolRow, kallsyms_rows, kallsyms_text


def test_lines_are_as_the_kernel_prints_them() -> None:
    rows = (
        SymbolRow(0x34080, "A", "steal_time", ""),
        SymbolRow(0xFFFFFFFFC0424000, "t", "virtio_init", "virtio"),
    )
    expected = "0000000000034080 A steal_time\nffffffffc0424000 t virtio_init\t[virtio]\n"
    assert kallsyms_text(rows) == expected


def test_only_what_lies_in_the_static_part_is_listed(small_kernel: Any) -> None:
    machine = small_kernel().machine
    size = machine.alloc_info.static_size_bytes
    machine.symbols |= {"b": size - 8, "a": 16, "__per_cpu_end": size, "other": size}
    rows = kallsyms_rows(machine)
    assert [(row.name, row.addr) for row in rows] == [
        ("a", 16),
        ("b", size - 8),
        ("__per_cpu_end", size),
    ]
    assert "__per_cpu_offset" in machine.symbols  # an address in the image, so not listed
