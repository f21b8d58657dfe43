"""Allocations made before the tracepoints work, which a log therefore cannot have.

    setup_per_cpu_areas ──────── early operations ────────▶ tracing starts ──── log ────▶

They are caches and interrupt descriptors of the kernel's own start, and ptr is relative to the
first unit: one kernel build makes the same ones, with the same results, on every machine. So the
lists of the kernels we know ship with us and stand before any log of theirs that comes without one.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from typing import NamedTuple

from snapshots.errors import InputError
from snapshots.logs.json_rows import json_rows
from snapshots.logs.text_source import read_lines

SHIPPED = {"6.1": "early-allocs-6.1.jsonl.gz", "6.12": "early-allocs-6.12.jsonl.gz"}
ROWS_MAX = 100_000


class EarlyAlloc(NamedTuple):
    """One operation. Sizes as asked; ptr is the __percpu pointer, all that a free has."""

    seq: int
    op: str  # 'alloc' | 'free'
    size_bytes: int
    align_bytes: int
    reserved: bool
    gfp: int
    call_site: str
    ptr: int


def early_allocs_for(version: str) -> tuple[EarlyAlloc, ...]:
    """Return the list that ships for a kernel version such as "6.1".

    Raises: InputError if there is none.
    """
    name = SHIPPED.get(version)
    if name is None:
        raise InputError(
            f"no list of early allocations ships for kernel {version}; expected one of "
            f"{', '.join(SHIPPED)}, or an early-allocs.jsonl beside the log"
        )
    packed = resources.files("snapshots.logs").joinpath("data", name)
    with resources.as_file(packed) as path:
        return parse_early_allocs(read_lines(path), name)


def parse_early_allocs(lines: Iterable[str], source: str) -> tuple[EarlyAlloc, ...]:
    """Return the operations of an early-allocs.jsonl; source names it in messages.

    Raises: InputError if a row is malformed or out of order.
    """
    found: list[EarlyAlloc] = []
    for row in json_rows(lines, source):
        op = row.text("op", "alloc", "free")
        is_alloc = op == "alloc"
        early = EarlyAlloc(
            seq=row.integer("seq"),
            op=op,
            size_bytes=row.integer("size") if is_alloc else 0,
            align_bytes=row.integer("align") if is_alloc else 0,
            reserved=bool(row.integer("reserved")) if is_alloc else False,
            gfp=row.address("gfp") if is_alloc else 0,
            call_site=row.text("call_site") if is_alloc else "",
            ptr=row.address("ptr"),
        )
        if found and early.seq <= found[-1].seq:
            raise row.error("seq", f"{early.seq}; expected more than {found[-1].seq}")
        found.append(early)
        if len(found) > ROWS_MAX:
            raise row.error("seq", f"row {len(found)}; expected at most {ROWS_MAX} rows")
    return tuple(found)
