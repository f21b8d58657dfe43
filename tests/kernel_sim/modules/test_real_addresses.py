"""Module images lie where two real kernels put them, from the sizes of their core and init blocks alone.

A real kernel gives an init block back from its work queue, a little later. On one recorded machine that was
not before all six modules of its initramfs were loaded, on the other while the next module was coming in.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from kernel_sim.arch import ARCHES
from kernel_sim.mm.vmalloc import VmallocSpace

GOLDEN = Path(__file__).parents[2] / "golden" / "kernel-6.1" / "modules-addresses.jsonl.gz"
PAGE = 4096
BPF_PACK_BYTES_A_NODE = 2 << 20  # what a real kernel has at the start of its module space


def rows_of(run: str) -> list[dict[str, Any]]:
    lines = gzip.decompress(GOLDEN.read_bytes()).splitlines()
    return [row for line in lines if (row := json.loads(line))[run] is not None]


def module_space(nr_nodes: int) -> VmallocSpace:
    arch = ARCHES["x86-64", 4]
    space = VmallocSpace(arch.modules_start, arch.modules_end)
    size_bytes = nr_nodes * BPF_PACK_BYTES_A_NODE + PAGE
    space.add_taken(arch.modules_start, size_bytes, "bpf_prog_pack_alloc")
    return space


@pytest.mark.parametrize(
    ("run", "nr_nodes", "nr_waiting", "nr_modules"),
    [("smp4-2node", 2, 6, 6), ("smp2-1node", 1, 1, 12)],
)
def test_images_lie_where_the_real_kernel_put_them(
    run: str, nr_nodes: int, nr_waiting: int, nr_modules: int
) -> None:
    space = module_space(nr_nodes)
    init_blocks: list[int] = []
    placed: list[tuple[str, str]] = []
    for row in rows_of(run):
        core = space.alloc_area(row["core_bytes"], PAGE, "load_module")
        init = space.alloc_area(row["init_bytes"], PAGE, "load_module")
        assert core is not None and init is not None
        placed.append((row["module"], f"{core:#x}"))
        init_blocks.append(init)
        if len(init_blocks) > nr_waiting:
            space.free_vm_areas((init_blocks.pop(0),))
            space.purge()
    assert placed == [(row["module"], row[run]) for row in rows_of(run)]
    assert len(placed) == nr_modules
