"""What is simpler than a call, one step at a time: CPU 0, when idle, smaller numbers, no flags.

    cpu 3: pcpu_alloc 5000 64 …   ──►  cpu 0: …   when idle: …   2500 …   4999 …   5000 8 …

Numbers that are results of earlier calls are left alone; so are names and files. Every row that is offered
is strictly simpler, so that whoever takes what is offered again and again comes to an end.
"""

from __future__ import annotations

from collections.abc import Iterator

from kernel_sim.mm.gfp import GFP_KERNEL
from snapshots.what_if.program import Row

LEAST = {
    ("pcpu_alloc", 0): 4,
    ("pcpu_alloc", 1): 4,
    ("kmalloc_node", 0): 8,
    ("vmalloc", 0): 4096,
    ("this_cpu_read", 1): 1,
    ("this_cpu_write", 2): 1,
    ("this_cpu_add", 2): 1,
    ("per_cpu", 2): 1,
    ("read", 1): 1,
    ("write", 2): 1,
    ("run_to_lock", 0): 1,
}
"""The least that makes sense, by call and place of the argument; else 0."""
GFP_AT = {("pcpu_alloc", 3), ("alloc_pages", 1), ("kmalloc_node", 1)}
FIXED = {
    ("pcpu_alloc", 1): (8,),  # an alignment is no size
    ("cpu_up", 0): (),
    ("cpu_down", 0): (),
    ("cpuhp_fail", 0): (),
    ("cpuhp_fail", 1): (),
    ("kmalloc_node", 2): (-1,),
    ("alloc_pages", 2): (-1,),
}
"""Arguments that have but these simpler values."""


def simpler_rows(row: Row) -> Iterator[Row]:
    """Yield rows that are simpler than this one in one thing, the most daring first."""
    if row.cpu:
        yield row._replace(cpu=0)
    if not row.when_idle:
        yield row._replace(when_idle=True, stretch=-1 - row.number)
    if row.do.startswith("adopt_"):
        return
    named = [reference.argument for reference in row.references]
    for place, value in enumerate(row.args):
        if place not in named:
            for simpler in _simpler_values(row.do, place, value):
                args = (*row.args[:place], simpler, *row.args[place + 1 :])
                yield row._replace(args=args)


def _simpler_values(do: str, place: int, value: object) -> Iterator[int | bool]:
    if isinstance(value, bool):
        if value:
            yield False
        return
    if not isinstance(value, int):
        return
    if (do, place) in GFP_AT:
        if value != GFP_KERNEL:
            yield GFP_KERNEL
        return
    fixed = FIXED.get((do, place))
    if fixed is not None:
        yield from (each for each in fixed if each < value)
        return
    least = LEAST.get((do, place), 0)
    if value <= least:
        return
    yield least
    for simpler in (_power_below(value), value // 2):
        if least < simpler < value:
            yield simpler


def _power_below(value: int) -> int:
    return 1 << (value - 1).bit_length() >> 1
