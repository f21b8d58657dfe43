"""The boot messages about memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kernel_sim.mm.phys_range import PhysRange
from kernel_sim.proc.boot_memory import (
    BootMemory,
    FirmwareRange,
    MemorySummary,
    NodeRange,
    Unavailable,
    ZoneRange,
    boot_memory_lines,
    boot_memory_rows,
    boot_memory_text,
)

LOW = PhysRange(0x1000, 0xFFFFFF)


def test_lines_are_as_the_kernel_prints_them() -> None:
    rows = BootMemory(
        (FirmwareRange(PhysRange(0, 0x9FBFF), "usable"),),
        (ZoneRange("DMA", LOW), ZoneRange("Normal", None)),
        (NodeRange(0, LOW),),
        (NodeRange(0, LOW),),
        (Unavailable(0, "DMA", 97),),
        MemorySummary(338620, 2096620, 14343, 2338, 9132, 2824, 17344, 129916, 0),
    )
    assert boot_memory_text(rows).split("\n") == [
        "BIOS-provided physical RAM map:",
        "BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable",
        "Zone ranges:",
        "  DMA      [mem 0x0000000000001000-0x0000000000ffffff]",
        "  Normal   empty",
        "Movable zone start for each node",
        "Early memory node ranges",
        "  node   0: [mem 0x0000000000001000-0x0000000000ffffff]",
        "Initmem setup node 0 [mem 0x0000000000001000-0x0000000000ffffff]",
        "On node 0, zone DMA: 97 pages in unavailable ranges",
        "Memory: 338620K/2096620K available (14343K kernel code, 2338K rwdata, 9132K rodata, "
        "2824K init, 17344K bss, 129916K reserved, 0K cma-reserved)",
        "",
    ]
    assert all(line.level == 6 for line in boot_memory_lines(rows))


def test_a_small_machine_has_one_zone(small_kernel: Any) -> None:
    rows = boot_memory_rows(small_kernel().machine)
    whole = PhysRange(0, (16 << 20) - 1)
    assert rows.firmware == (FirmwareRange(whole, "usable"),)
    assert rows.zones[0] == ZoneRange("DMA", whole)
    assert all(row.memory is None for row in rows.zones[1:])
    assert [row.node for row in rows.node_spans] == [0, 1]
    assert rows.unavailable == (Unavailable(1, "DMA", (128 - 16 << 20) >> 12),)


def test_the_summary_adds_up(small_kernel: Any) -> None:
    machine = small_kernel().machine
    summary = boot_memory_rows(machine).summary
    assert summary is not None
    assert summary.physical == 16 << 10
    assert summary.reserved == 4 * sum(z.buddy.nr_reserved_pages for z in machine.pages.zones)
    assert summary.available <= summary.physical - summary.reserved


def test_the_firmwares_map_is_told_in_its_own_words(small_kernel: Any) -> None:
    machine = small_kernel().machine
    low, high = PhysRange(0, 0xFFF), PhysRange(0x1000, 0xFFFFFF)
    told = ((low, "Reserved"), (high, "System RAM"), (PhysRange(1 << 32, 1 << 33), "PCI Bus 0"))
    memory = replace(machine.config.memory, map=told)
    machine.config = replace(machine.config, memory=memory)
    assert boot_memory_rows(machine).firmware == (
        FirmwareRange(low, "reserved"),
        FirmwareRange(high, "usable"),
    )
