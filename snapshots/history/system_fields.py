"""Fields of per-CPU memory that every system has: its areas, its own figures, its account.

    system.nr_areas      fact[blocks]      account.padding_bytes      cpu_bytes[2].dynamic      node_bytes[1]

An account is counted anew at every moment that is looked at: a search for it takes its time.
"""

from __future__ import annotations

from typing import Final

from kernel_sim.percpu.account import Account, account_of
from kernel_sim.percpu.protocol import PercpuSystem
from kernel_sim.percpu.stretch import HOLE, KINDS
from snapshots.history.field_rows import (
    BYTES,
    COUNT,
    PAGES,
    TEXT,
    Component,
    Parameter,
    Rows,
    number,
    text_row,
)
from snapshots.history.sight import Sight

_SYSTEM: Final[Rows] = {
    "name": text_row("as the catalogue has it", lambda it: it.name),
    "nr_areas": number(COUNT, "live dynamic areas", lambda it: sum(1 for _ in it.live_areas())),
    "live_bytes": number(BYTES, "of one copy of each of them", lambda it: _live_bytes(it)),
    "nr_pages": number(PAGES, "behind all copies", lambda it: it.nr_pages()),
    "struct_bytes": number(
        BYTES, "bookkeeping beside simulated memory", lambda it: it.metadata_bytes()
    ),
}
_ACCOUNT: Final[Rows] = {
    "total_bytes": number(BYTES, "all memory", lambda it: it.total_bytes),
    "data_bytes": number(BYTES, "static, dynamic and modules'", lambda it: it.data_bytes),
    "padding_bytes": number(BYTES, "lost to rounding", lambda it: it.padding_bytes),
    "reserved_bytes": number(BYTES, "kept for nobody yet", lambda it: it.reserved_bytes),
    "free_bytes": number(BYTES, "may be given out", lambda it: it.free_bytes),
    "table_bytes": number(BYTES, "tables that accesses read", lambda it: it.table_bytes),
    "metadata_bytes": number(
        BYTES, "bookkeeping in memory and beside it", lambda it: it.metadata_bytes
    ),
    "hole_bytes": number(BYTES, "address space without memory", lambda it: it.hole_bytes),
    "misplaced_bytes": number(
        BYTES, "on another node than they should", lambda it: it.misplaced_bytes
    ),
    "page_table_pages": number(
        PAGES, "of tables for its own address space", lambda it: it.page_table_pages
    ),
}
_OF_CPU: Final[Rows] = {
    kind: number(BYTES, f"of kind {kind}", lambda it, kind=kind: it[0].get(kind, 0))  # type: ignore[misc]
    for kind in KINDS
    if kind != HOLE
} | {
    "tlb_entries": number(
        COUNT, "translations the CPU needs to touch all its own copies", lambda it: it[1]
    )
}


def _live_bytes(system: PercpuSystem) -> int:
    return sum(size for _, size in system.live_areas())


def _fact(sight: Sight, name: str) -> object:
    return dict(sight.machine.system.facts()).get(name)


def _figure(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _of_cpu(sight: Sight, cpu: int) -> tuple[dict[str, int], int] | None:
    if cpu not in sight.machine.cpus:
        return None
    account = account_of(sight.machine)
    return account.per_cpu.get(cpu, {}), account.tlb_entries(cpu)


def _of_node(sight: Sight, node: int) -> int | None:
    if node not in sight.machine.topology.nodes:
        return None
    return account_of(sight.machine).per_node.get(node, 0)


def _account(sight: Sight) -> Account:
    return account_of(sight.machine)


SYSTEM_COMPONENTS: Final = (
    Component(
        "system", "the per-CPU system, whichever it is", lambda sight: sight.machine.system, (),
        _SYSTEM,
    ),
    Component(
        "fact", "a figure of the system's own, as its map shows it", _fact,
        (Parameter("FIGURE", TEXT, constant=True),), {},
        number(COUNT, "the figure; missing where it is a text", _figure),
        is_fixed=True,
    ),
    Component("account", "what all per-CPU memory is for", _account, (), _ACCOUNT),
    Component(
        "cpu_bytes", "what a CPU's per-CPU memory is for", _of_cpu, (Parameter("CPU"),), _OF_CPU,
        is_fixed=True,
    ),
    Component(
        "node_bytes", "per-CPU memory that lies on a node", _of_node, (Parameter("NODE"),), {},
        number(BYTES, "of all kinds", lambda it: it), is_fixed=True,
    ),
)  # fmt: skip
