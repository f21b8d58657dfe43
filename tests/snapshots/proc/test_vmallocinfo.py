"""Reading /proc/vmallocinfo."""

from __future__ import annotations

import pytest

from kernel_sim.proc.vmallocinfo import NodePages, VmallocRow
from snapshots.errors import InputError
from snapshots.proc.vmallocinfo import parse_vmallocinfo


def test_rows_are_read() -> None:
    text = (
        "0x1000-0x4000   12288 f+0x1/0x2 [m] pages=2 vmalloc vpages N0=1 N3=1\n"
        "0x5000-0x7000    8192 vmalloc\n"
        "0x8000-0x9000    4096 unpurged vm_area\n"
        "0x9000-0xa000    4096 vm_map_ram\n"
    )
    assert parse_vmallocinfo(text, "f") == (
        VmallocRow(
            0x1000, 0x4000, 12288, "f+0x1/0x2 [m]", 2, None, ("vmalloc", "vpages"),
            (NodePages(0, 1), NodePages(3, 1)),
        ),
        VmallocRow(0x5000, 0x7000, 8192, "", 0, None, ("vmalloc",), ()),
        VmallocRow(0x8000, 0x9000, 4096, "", 0, None, ("unpurged vm_area",), ()),
        VmallocRow(0x9000, 0xA000, 4096, "", 0, None, ("vm_map_ram",), ()),
    )  # fmt: skip


def test_a_physical_address_may_be_0() -> None:
    (row,) = parse_vmallocinfo("0x1000-0x3000 8192 f phys=0x0000000000000000 ioremap\n", "f")
    assert row.phys == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0x1000", "line 1, column 7: ''; expected '-0x'"),
        ("0x1-0x2 x", "line 1, column 9: 'x'; expected a size in bytes"),
        ("0x1-0x2 1 f pages=1 pages=2", "line 1, column 20: ' pages=2'; expected pages=, phys="),
        ("0x1-0x2 1 f N0=1 N0=2", "line 1, column 17: ' N0=2'; expected"),
        ("0x1-0x2 1 f g", "line 1, column 12: ' g'; expected"),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_vmallocinfo(text, "f")
    assert str(caught.value).startswith(f"f: {message}")


def test_a_caller_may_be_called_as_a_flag_is() -> None:
    (row,) = parse_vmallocinfo("0x1000-0x3000 8192 vmalloc pages=1 vmalloc N0=1\n", "f")
    assert (row.caller, row.nr_pages, row.flags) == ("vmalloc", 1, ("vmalloc",))
