"""Areas of vmalloc space."""

from __future__ import annotations

from typing import Any

from kernel_sim.mm.page import PAGE_SHIFT
from kernel_sim.proc.vmallocinfo import (
    NodePages,
    VmallocRow,
    vmallocinfo_rows,
    vmallocinfo_text,
)


def test_lines_are_as_the_kernel_prints_them() -> None:
    rows = (
        VmallocRow(
            0xFFFFC9000000D000, 0xFFFFC90000210000, 2101248, "f+0x1/0x2", 512, None, ("vmalloc",),
            (NodePages(0, 256), NodePages(1, 256)),
        ),
        VmallocRow(
            0xFFFFC90000005000, 0xFFFFC90000007000, 8192, "g+0x1/0x2 [m]", 0, 0x7FFE1000,
            ("ioremap",), (),
        ),
        VmallocRow(
            0xFFFFC90000918000, 0xFFFFC9000091D000, 20480, "", 0, None, ("unpurged vm_area",), ()
        ),
    )  # fmt: skip
    assert vmallocinfo_text(rows).split("\n") == [
        "0xffffc9000000d000-0xffffc90000210000 2101248 f+0x1/0x2 pages=512 vmalloc N0=256 N1=256",
        "0xffffc90000005000-0xffffc90000007000    8192 g+0x1/0x2 [m] phys=0x000000007ffe1000 ioremap",
        "0xffffc90000918000-0xffffc9000091d000   20480 unpurged vm_area",
        "",
    ]


def test_a_chunk_shows_as_areas_without_pages(small_kernel: Any) -> None:
    kernel = small_kernel()
    kernel.use_up_ready_space()
    kernel.alloc(4096)
    rows = vmallocinfo_rows(kernel.machine)
    groups = [row for row in rows if row.caller == "pcpu_get_vm_areas"]
    assert len(groups) >= 2
    assert all(row.flags == ("vmalloc",) and not row.nr_pages for row in groups)


def test_pages_of_other_areas_are_counted_where_they_lie(small_kernel: Any) -> None:
    machine = small_kernel().machine
    start = machine.vmalloc.alloc_area(2 * 4096, 4096, "alloc_large_system_hash", nr_pages=2)
    for number, node in enumerate((0, 1)):
        pfn = machine.pages.zones_of(node)[-1].buddy.end_pfn - 1
        assert machine.space.map_page(virt=start + number * 4096, pfn=pfn, flags=3, node=0)
    row = next(r for r in vmallocinfo_rows(machine) if r.caller == "alloc_large_system_hash")
    assert (row.size_bytes, row.nr_pages) == (3 * 4096, 2)
    assert row.node_pages == (NodePages(0, 1), NodePages(1, 1))


def test_a_first_chunk_by_pages_has_no_caller_and_no_pages(small_kernel: Any) -> None:
    machine = small_kernel(first_chunk="page").machine
    row = vmallocinfo_rows(machine)[0]
    assert (row.caller, row.nr_pages, row.flags) == ("", 0, ("vmalloc",))
    assert row.size_bytes >> PAGE_SHIFT == 4 * machine.alloc_info.unit_size_bytes >> PAGE_SHIFT


def test_freed_areas_come_last(small_kernel: Any) -> None:
    machine = small_kernel().machine
    starts = [machine.vmalloc.alloc_area(4096, 4096, name) for name in ("a", "b")]
    machine.vmalloc.free_vm_areas((starts[0],))
    rows = vmallocinfo_rows(machine)
    assert [row.start for row in rows if row.start in starts] == [starts[1], starts[0]]
    assert rows[-1].flags == ("unpurged vm_area",)
