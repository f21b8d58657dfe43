"""What all per-CPU memory is for: bytes by kind, of each CPU, each node, and in all."""

from __future__ import annotations

from kernel_sim.percpu.account import UNMAPPED, account_of
from kernel_sim.percpu.stretch import HOLE, KINDS, SHARED
from tui.debugger.session import Session
from tui.debugger.table import DEC, Cell, Column, Table

SHOWN_KINDS = tuple(kind for kind in KINDS if kind != HOLE)
COLUMNS = (
    Column("of", help="all; a CPU; what no single CPU owns; the memory of a node"),
    Column("total", DEC, "bytes of memory"),
    Column("static", DEC, "the kernel's own variables"),
    Column("dynamic", DEC, "areas that somebody allocated"),
    Column("module", DEC, "modules' sections"),
    Column("free", DEC, "may be given out"),
    Column("padding", DEC, "lost to rounding"),
    Column("reserved", DEC, "kept for nobody yet"),
    Column("table", DEC, "what an access reads to find its copy"),
    Column("metadata", DEC, "bookkeeping in memory; of all: and beside it"),
    Column("tlb_entries", DEC, "translations a CPU needs to touch all its own copies"),
)


def account_view(session: Session) -> Table:
    """Return the account of the present moment."""
    machine = session.machine
    account = account_of(machine)
    kinds = [account.by_kind[kind] for kind in SHOWN_KINDS]
    kinds[-1] = account.metadata_bytes
    most = max(account.translations.values(), default=0)
    rows: list[tuple[Cell, ...]] = [("all", account.total_bytes, *kinds, most)]
    for cpu, by_kind in account.per_cpu.items():
        cells = [by_kind.get(kind, 0) for kind in SHOWN_KINDS]
        name = "shared" if cpu == SHARED else f"cpu {cpu}"
        entries = None if cpu == SHARED else account.tlb_entries(cpu)
        rows.append((name, sum(cells), *cells, entries))
    blank: tuple[Cell, ...] = (None,) * (len(SHOWN_KINDS) + 1)
    for node, nr_bytes in account.per_node.items():
        name = "no page" if node == UNMAPPED else f"node {node}"
        rows.append((name, nr_bytes, *blank))
    notes = (
        f"{account.struct_bytes} bytes of metadata are structs beside simulated memory",
        f"{account.page_table_pages} pages of page tables for address space of its own;"
        f" {account.hole_bytes} bytes of that have no memory",
        f"{account.misplaced_bytes} bytes lie on another node than where they should",
    )
    title = f"Account of {machine.system.name} at step {session.step}"
    return Table(title, COLUMNS, tuple(rows), notes)
