"""What is loaded."""

from __future__ import annotations

from typing import Any

from kernel_sim.modules.module import COMING, GOING, LIVE, UNFORMED, Module
from kernel_sim.proc.modules import ModuleRow, modules_rows, modules_text


def test_lines_are_as_the_kernel_prints_them() -> None:
    rows = (
        ModuleRow("virtio", 20480, 2, ("virtio_blk", "virtio_pci"), "Live", 0xFFFFFFFFC0424000, ""),
        ModuleRow("own", 16384, 0, (), "Loading", 0xFFFFFFFFC0401000, "OE"),
    )
    assert modules_text(rows).split("\n") == [
        "virtio 20480 2 virtio_blk,virtio_pci, Live 0xffffffffc0424000",
        "own 16384 0 - Loading 0xffffffffc0401000 (OE)",
        "",
    ]


def test_a_fresh_machine_has_none(small_kernel: Any) -> None:
    assert modules_rows(small_kernel().machine) == ()


def test_modules_are_listed_as_the_loader_has_them(small_kernel: Any) -> None:
    machine = small_kernel().machine
    old = Module("old", state=LIVE, core_addr=0xFFFFFFFFC0000000, core_size_bytes=8192)
    old.refcnt += 1
    old.used_by = {"first": None, "second": None}
    old.has_init = True
    young = Module("young", state=COMING, core_addr=0xFFFFFFFFC0004000, core_size_bytes=4096)
    young.init_size_bytes = 4096
    leaving = Module("leaving", state=GOING, refcnt=0)
    machine.modules.modules += [Module("forming", state=UNFORMED), leaving, young, old]
    assert modules_text(modules_rows(machine)).split("\n") == [
        "leaving 0 -1 - Unloading 0x0000000000000000",
        "young 8192 1 - Loading 0xffffffffc0004000",
        "old 8192 2 second,first,[permanent], Live 0xffffffffc0000000",
        "",
    ]
