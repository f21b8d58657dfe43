"""What an operation costs as the machine grows: CPUs, nodes, chunks.

Each column is a machine; each row an operation, in microseconds and steps. Ratios within one run
say what grows: an allocation from a page that is there must cost the same everywhere, a page of a
chunk grows with the CPUs alone, and nothing grows with the number of chunks or of pages.
"""

from __future__ import annotations

import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable

from kernel_sim.boot import boot
from kernel_sim.config import MachineConfig
from kernel_sim.inputs import Input, apply_input
from kernel_sim.machine import Machine

GFP_KERNEL = 0xCC0
FOREVER = 1 << 60
NR_REPEATS = 200
NR_NEW_CHUNKS = 20
CPUS = (1, 16, 256, 4096)
NODES = (1, 8, 64)
CHUNKS = (1, 100, 1000, 10_000)
CPUS_QUICK = (1, 64)
NODES_QUICK = (1, 64)
CHUNKS_QUICK = (1, 300)
NODE_MIB = 1 << 20  # 1 TiB
AREA_BYTES = 64
MIB = 1 << 20
AIMS = {
    "growth: boot ms (64 nodes": "< 100",
    "growth: boot MiB (64 nodes": "< 50",
    "growth: alloc + free of a ready area us, most / fewest": "about 1",
    "growth: this_cpu_add us, most / fewest": "about 1",
    "growth: create a chunk and populate all of it us, most / fewest (chunks)": "about 1",
}
Rows = dict[str, float]


def config_of(nr_cpus: int, nr_nodes: int, node_mib: int, tlb: str = "none") -> MachineConfig:
    """Return a machine whose CPUs are spread evenly; its chunks are of a few pages, of which few are used.

    With TLBs every allocation clears every CPU's copy through the TLB of the CPU that runs.
    """
    per_node = nr_cpus // nr_nodes
    mapping: dict[str, object] = {
        "name": f"growth-{nr_cpus}cpu-{nr_nodes}node",
        "cpus": {"possible": f"0-{nr_cpus - 1}"},
        "node": [
            {"cpus": f"{node * per_node}-{(node + 1) * per_node - 1}", "memory_mib": node_mib}
            for node in range(nr_nodes)
        ],
        "tlb": {"profile": tlb},
        "work": {"mode": "scripted"},
        "schedule": {"policy": "round_robin", "seed": 1},
    }
    return MachineConfig.from_mapping(mapping, where="growth")


def small_chunks_config() -> MachineConfig:
    """Return two CPUs with units of 8 pages, so that many chunks need little memory."""
    mapping: dict[str, object] = {
        "name": "growth-chunks",
        "cpus": {"possible": "0-1"},
        "node": [{"cpus": "0-1", "memory_mib": 4096}],
        "percpu": {
            "static_bytes": 6000,
            "reserved_bytes": 8192,
            "dynamic_bytes": 12288,
            "atom_bytes": 4096,
        },
        "tlb": {"profile": "none"},
        "work": {"mode": "scripted"},
    }
    return MachineConfig.from_mapping(mapping, where="growth")


def call(machine: Machine, name: str, *args: int | str | bool) -> int:
    """Run one call of CPU 0 to its end and return its result as a number."""
    result = machine.run_call(machine.give(0, name, args))
    machine.take_events()
    return result if isinstance(result, int) else 0


def take_area(machine: Machine, size_bytes: int = AREA_BYTES) -> int:
    """Allocate; the pointer must be there."""
    ptr = call(machine, "pcpu_alloc", size_bytes, 8, False, GFP_KERNEL, "bench")
    assert ptr, f"no per-CPU memory for {size_bytes} bytes"
    return ptr


def microseconds(work: Callable[[], object]) -> float:
    """Return how long a piece of work takes."""
    start = time.perf_counter()
    work()
    return 1e6 * (time.perf_counter() - start)


def per_call(work: Callable[[], object], nr_repeats: int) -> float:
    """Return the median microseconds of several runs."""
    return statistics.median(microseconds(work) for _ in range(nr_repeats))


def boot_costs(config: MachineConfig) -> tuple[float, float]:
    """Return milliseconds (best of three) and the MiB that a booted machine holds."""
    seconds = min(microseconds(lambda: boot(config)) for _ in range(3))
    tracemalloc.start()
    machine = boot(config)
    held_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert machine.step == 0
    return seconds / 1000, held_bytes / MIB


def operations(rows: Rows, where: str, machine: Machine, nr_repeats: int) -> None:
    """Measure what is asked most: an area that is there, its free, access, and a step of each."""
    ptrs: list[int] = [take_area(machine)]
    rows[f"growth: alloc + free of a ready area us ({where})"] = per_call(
        lambda: call(machine, "free_percpu", take_area(machine)), nr_repeats
    )
    rows[f"growth: this_cpu_add us ({where})"] = per_call(
        lambda: call(machine, "this_cpu_add", ptrs[0], 1, 8), nr_repeats
    )
    step = machine.step
    call(machine, "free_percpu", take_area(machine))
    rows[f"growth: alloc + free of a ready area, steps ({where})"] = machine.step - step
    call(machine, "free_percpu", ptrs[0])


def fill_first_chunk(machine: Machine) -> None:
    """Leave no room in the first chunk, in as few areas as it takes."""
    first = machine.percpu.chunks[0]
    while (left := first.md.contig_hint * 4) > 0:
        take_area(machine, min(left, 16384))


def population(rows: Rows, where: str, machine: Machine, nr_repeats: int) -> None:
    """Measure a page for every CPU: the first makes a chunk too."""
    fill_first_chunk(machine)
    step = machine.step
    rows[f"growth: create a chunk and populate a page us ({where})"] = microseconds(
        lambda: take_area(machine, 4096)
    )
    rows[f"growth: create a chunk and populate a page, steps ({where})"] = machine.step - step
    rows[f"growth: populate a page us ({where})"] = per_call(
        lambda: take_area(machine, 4096), nr_repeats
    )


def clearing(rows: Rows, where: str, machine: Machine) -> None:
    """Measure an allocation that clears every CPU's copy through the TLB of the CPU that runs."""
    take_area(machine)
    rows[f"growth: alloc + free, all copies cleared through a TLB us ({where})"] = per_call(
        lambda: call(machine, "free_percpu", take_area(machine)), 5
    )


def by_cpus(rows: Rows, counts: tuple[int, ...], nr_repeats: int) -> None:
    """1 to 4096 CPUs on one node."""
    for nr_cpus in counts:
        where = f"{nr_cpus} CPUs"
        config = config_of(nr_cpus, 1, 65536)
        rows[f"growth: boot ms ({where})"], rows[f"growth: boot MiB ({where})"] = boot_costs(config)
        machine = boot(config)
        operations(rows, where, machine, nr_repeats)
        population(rows, where, machine, 3 if nr_cpus > 100 else 20)
        clearing(rows, where, boot(config_of(nr_cpus, 1, 65536, tlb="skylake")))


def by_nodes(rows: Rows, counts: tuple[int, ...], nr_repeats: int) -> None:
    """1 to 64 nodes of 1 TiB, a CPU on each."""
    for nr_nodes in counts:
        where = f"{nr_nodes} nodes x 1 TiB"
        config = config_of(nr_nodes, nr_nodes, NODE_MIB)
        rows[f"growth: boot ms ({where})"], rows[f"growth: boot MiB ({where})"] = boot_costs(config)
        machine = boot(config)
        operations(rows, where, machine, nr_repeats)
        population(rows, where, machine, 10)


def by_chunks(rows: Rows, counts: tuple[int, ...], nr_repeats: int) -> None:
    """1 to 10,000 chunks of which each has one page left."""
    machine = boot(small_chunks_config())
    fill_first_chunk(machine)
    nr_own = len(machine.percpu.chunks)
    unit_bytes = machine.percpu.unit_size_bytes
    for nr_chunks in counts:
        while len(machine.percpu.chunks) - nr_own < nr_chunks:
            take_area(machine, unit_bytes - 4096)
        where = f"{nr_chunks} chunks"
        operations(rows, where, machine, nr_repeats)
        come_and_go(rows, where, machine, unit_bytes)


def come_and_go(rows: Rows, where: str, machine: Machine, unit_bytes: int) -> None:
    """Measure whole chunks: made, emptied, destroyed by the background work, purged."""
    ptrs: list[int] = []
    rows[f"growth: create a chunk and populate all of it us ({where})"] = per_call(
        lambda: ptrs.append(take_area(machine, unit_bytes)), NR_NEW_CHUNKS
    )
    tracemalloc.start()
    ptrs.append(take_area(machine, unit_bytes))
    rows[f"growth: KiB held for a chunk with its table entries ({where})"] = (
        tracemalloc.get_traced_memory()[0] / 1024
    )
    tracemalloc.stop()
    rows[f"growth: free a whole chunk us ({where})"] = per_call(
        lambda: call(machine, "free_percpu", ptrs.pop()), NR_NEW_CHUNKS + 1
    )
    rows[f"growth: balance work that destroys {NR_NEW_CHUNKS} chunks us ({where})"] = per_call(
        lambda: machine.run_call(machine.start_work(0)), 1
    )
    machine.run(FOREVER)
    machine.take_events()
    rows[f"growth: purge us ({where})"] = per_call(
        lambda: apply_input(machine, Input(machine.step, "purge_vmap", 0, ())), 1
    )
    machine.run(FOREVER)


def ratios(rows: Rows) -> Rows:
    """Return, for every operation, the largest machine of a kind against its smallest."""
    kinds: dict[tuple[str, str], list[float]] = {}
    for name, value in rows.items():
        operation, where = name.removesuffix(")").rsplit(" (", 1)
        kinds.setdefault((operation, where.split(" ", 1)[1]), []).append(value)
    return {
        f"{operation}, most / fewest ({kind})": values[-1] / values[0]
        for (operation, kind), values in kinds.items()
        if len(values) > 1 and values[0]
    }


def measure(quick: bool) -> Rows:
    """Run all measurements of growth, then the ratios."""
    rows: Rows = {}
    nr_repeats = NR_REPEATS // 10 if quick else NR_REPEATS
    by_cpus(rows, CPUS_QUICK if quick else CPUS, nr_repeats)
    by_nodes(rows, NODES_QUICK if quick else NODES, nr_repeats)
    by_chunks(rows, CHUNKS_QUICK if quick else CHUNKS, nr_repeats)
    return rows | ratios(rows)


if __name__ == "__main__":
    for row, value in measure(quick="--quick" in sys.argv).items():
        print(f"{row:<75}{value:>14,.2f}")
