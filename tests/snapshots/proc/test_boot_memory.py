"""Reading a kernel log about memory."""

from __future__ import annotations

import pytest

from kernel_sim.mm.phys_range import PhysRange
from kernel_sim.proc.boot_memory import (
    FirmwareRange,
    NodeRange,
    Unavailable,
    ZoneRange,
    boot_memory_text,
)
from snapshots.errors import InputError
from snapshots.proc.boot_memory import parse_boot_memory

LOG = """[    0.000000] BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable
<6>[    0.000000] BIOS-e820: [mem 0x00000000fffc0000-0x00000000ffffffff] ACPI data
On node 0 totalpages: 262013
  DMA      [mem 0x0000000000001000-0x0000000000ffffff]
  Normal   empty
  node   0: [mem 0x0000000000001000-0x000000000009efff]
Initmem setup node 0 [mem 0x0000000000001000-0x000000003fffffff]
On node 0, zone DMA: 97 pages in unavailable ranges
Memory: 5K/6K available (1K kernel code, 2K rwdata, 3K rodata, 4K init, 5K bss, 6K reserved, \
7K cma-reserved)
""".replace("\\\n", "")


def test_lines_are_found_among_others() -> None:
    rows = parse_boot_memory(LOG, "f")
    assert rows.firmware == (
        FirmwareRange(PhysRange(0, 0x9FBFF), "usable"),
        FirmwareRange(PhysRange(0xFFFC0000, 0xFFFFFFFF), "ACPI data"),
    )
    assert rows.zones == (
        ZoneRange("DMA", PhysRange(0x1000, 0xFFFFFF)),
        ZoneRange("Normal", None),
    )
    assert rows.node_ranges == (NodeRange(0, PhysRange(0x1000, 0x9EFFF)),)
    assert rows.node_spans == (NodeRange(0, PhysRange(0x1000, 0x3FFFFFFF)),)
    assert rows.unavailable == (Unavailable(0, "DMA", 97),)
    assert rows.summary == (5, 6, 1, 2, 3, 4, 5, 6, 7, None)
    assert parse_boot_memory(boot_memory_text(rows), "f") == rows


def test_a_log_without_such_lines_says_nothing() -> None:
    rows = parse_boot_memory("hello\n", "f")
    assert not rows.firmware
    assert rows.summary is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("BIOS-e820: [mem 5]\n", "line 1, column 12: '[mem 5]'; expected a range such as"),
        ("  node 0: [mem 0x5-0x1]\n", "line 1, column 24: ''; expected a range such as"),
        ("Memory: 5K/6K free\n", "line 1, column 14: ' free'; expected ' available ('"),
        ("On node 0, zone DMA: x\n", "line 1, column 22: 'x'; expected a number of pages"),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_boot_memory(text, "f")
    assert str(caught.value).startswith(f"f: {message}")


def test_a_kernel_with_high_memory_says_how_much() -> None:
    text = LOG.replace("cma-reserved)", "cma-reserved, 8K highmem)")
    rows = parse_boot_memory(text, "f")
    assert rows.summary is not None
    assert rows.summary.highmem == 8
    assert parse_boot_memory(boot_memory_text(rows), "f") == rows
