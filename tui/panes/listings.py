"""Which listings the screen knows, and which of their columns come first where there is little room."""

from __future__ import annotations

from dataclasses import dataclass

from kernel_sim.mm.buddy import NR_ORDERS
from tui.debugger.session import Session
from tui.debugger.table import Table
from tui.debugger.views.account import account_view
from tui.debugger.views.areas import areas_view
from tui.debugger.views.blocks import blocks_view
from tui.debugger.views.branches import bookmarks_view, branches_view
from tui.debugger.views.chunks import chunks_view
from tui.debugger.views.cpus import cpus_view
from tui.debugger.views.divergences import divergences_view
from tui.debugger.views.fault import fault_view
from tui.debugger.views.hotplug import hotplug_view
from tui.debugger.views.inferred import inferred_view
from tui.debugger.views.inputs import inputs_view
from tui.debugger.views.locks import locks_view
from tui.debugger.views.log import log_view
from tui.debugger.views.map_object import address_of
from tui.debugger.views.modules import modules_view
from tui.debugger.views.offsets import offsets_view
from tui.debugger.views.pagelists import pagelists_view
from tui.debugger.views.pagetables import pagetables_view
from tui.debugger.views.percpu_symbols import percpu_symbols_view
from tui.debugger.views.slabinfo import slabinfo_view
from tui.debugger.views.slots import slots_view
from tui.debugger.views.stack import stack_view
from tui.debugger.views.stats import stats_view
from tui.debugger.views.stretches import stretches_view
from tui.debugger.views.systems import systems_view
from tui.debugger.views.tlb import tlb_view
from tui.debugger.views.vmalloc import vmalloc_view
from tui.debugger.views.walk import walk_view
from tui.debugger.views.work import work_view
from tui.debugger.views.zones import zones_view
from tui.panes.table_pane import Listing

OUTPUT = "output"
FAULT = "fault"
ORDERS = tuple(f"order{order}" for order in range(NR_ORDERS))


@dataclass(slots=True)
class Focus:
    """What the person looks at: the listings of one chunk, CPU or address follow it."""

    chunk: int = 0
    at_bytes: int = 0
    virt: int | None = None  # under the cursor of a map of strips
    chosen_cpu: int | None = None  # None: the CPU that ran last
    typed_address: int | None = None  # None: that of the map's cursor
    output: Table | None = None

    def cpu(self, session: Session) -> int:
        """Return the CPU that is looked at."""
        if self.chosen_cpu is not None:
            return self.chosen_cpu
        last = session.machine.scheduler.last_cpu
        return last if last in session.machine.cpus else session.machine.topology.possible[0]

    def address(self, session: Session) -> int:
        """Return the address that is walked."""
        if self.typed_address is not None:
            return self.typed_address
        machine = session.machine
        if machine.bitmap is None:
            static = machine.system.copy_addr(machine.system.percpu_start, self.cpu(session))
            return self.virt if self.virt is not None else static or machine.image_addr
        found = address_of(machine, self.chunk, self.at_bytes, self.cpu(session))
        return machine.percpu.base_addr if found is None else found

    def shown_chunk(self, session: Session) -> int:
        """Return the chunk that is looked at, the first one if it is gone."""
        percpu = session.machine.bitmap
        return self.chunk if percpu is not None and self.chunk in percpu.chunks else 0

    def areas(self, session: Session) -> Table:
        """Return the areas of the chunk that is looked at; of all memory where there are no chunks."""
        return areas_view(
            session, None if session.machine.bitmap is None else self.shown_chunk(session)
        )


def listings_for(focus: Focus) -> dict[str, Listing]:
    """Return all listings by name, in the order of the tabs; those of one thing look at the focus."""
    found = (*_weighty(focus), *_others(focus), *_beneath(focus), _output(focus))
    return {listing.name: listing for listing in found}


def _weighty(focus: Focus) -> tuple[Listing, ...]:
    """Return the listings for which room is short, so that their columns are chosen."""
    return (
        Listing(
            "cpus",
            lambda session: cpus_view(session, focus.shown_chunk(session)),
            first=(
                "cpu",
                "node",
                "call",
                "gs_base",
                "fs_base",
                "unit_base",
                "static_copy",
                "per_cpu_offset",
                "waits_for",
                "state",
            ),
            only=True,
            headings={"per_cpu_offset": "__per_cpu_offset", "node": "nd", "waits_for": "waits"},
            widths={"call": 11},
            gap=" ",
        ),
        Listing(
            "walk",
            lambda session: walk_view(session, focus.address(session), focus.cpu(session)),
            first=("level", "index", "entry", "flags", "points_to", "entry_phys"),
            only=True,
            headings={"level": "", "index": "idx"},
            gap=" ",
        ),
        Listing(
            "chunks",
            chunks_view,
            first=(
                "chunk",
                "list",
                "free_bytes",
                "contig_bytes",
                "nr_populated",
                "nr_pages",
                "empty_pop_pages",
                "nr_alloc",
                "slot",
                "place",
                "base_addr",
            ),
            headings={
                "nr_populated": "pop",
                "nr_pages": "pages",
                "empty_pop_pages": "empty",
                "nr_alloc": "areas",
                "free_bytes": "free",
                "contig_bytes": "contig",
            },
        ),
    )


def _others(focus: Focus) -> tuple[Listing, ...]:
    return (
        Listing("slots", slots_view),
        Listing("log", log_view),
        Listing("stats", stats_view),
        Listing("areas", focus.areas, is_slow=True),
        Listing("stack", lambda session: stack_view(session, focus.cpu(session))),
        Listing("inferred", inferred_view),
        Listing("divergences", divergences_view),
        Listing(
            "blocks", lambda session: blocks_view(session, focus.shown_chunk(session)), is_slow=True
        ),
        Listing("inputs", inputs_view),
        Listing("branches", branches_view, first=("branch", "end", "from", "step", "here", "what")),
        Listing("bookmarks", bookmarks_view, first=("name", "step", "note", "branch")),
        Listing("offsets", offsets_view),
        *_of_systems(),
        Listing("locks", locks_view),
        Listing("work", work_view),
    )


def _of_systems() -> tuple[Listing, ...]:
    """Return the listings of per-CPU memory that every system has."""
    return (
        Listing(
            "stretches",
            stretches_view,
            first=("strip", "addr", "size", "kind", "what", "ptr", "cpu", "node"),
            is_slow=True,
        ),
        Listing("account", account_view, headings={"tlb_entries": "TLB"}, is_slow=True, gap=" "),
        Listing("systems", systems_view, first=("system", "option", "value", "may_be", "years")),
    )


def _beneath(focus: Focus) -> tuple[Listing, ...]:
    """Return the listings of the machine beneath, in the order in which their key turns through them."""
    return (*_of_memory(), *_of_machine(focus))


def _of_memory() -> tuple[Listing, ...]:
    return (
        Listing(
            "zones",
            zones_view,
            first=(
                "node",
                "zone",
                "free",
                "on_lists",
                "min",
                "low",
                "high",
                "present",
                "allocated",
                "reserved",
                *ORDERS,
            ),
            headings={"node": "nd", "on_lists": "lists", "allocated": "alloc"}
            | {name: name.replace("order", "2^") for name in ORDERS},
        ),
        Listing(
            "pagelists",
            pagelists_view,
            headings={"node": "nd", "free_factor": "factor"},
        ),
        Listing(
            "vmalloc",
            vmalloc_view,
            first=(
                "start",
                "nr_pages",
                "backed",
                "caller",
                "chunk",
                "group",
                "lazily_freed",
                "space",
            ),
            headings={"nr_pages": "pages", "lazily_freed": "lazy"},
        ),
    )


def _of_machine(focus: Focus) -> tuple[Listing, ...]:
    """Return what has to do with translations, modules and CPUs."""
    return (
        Listing(
            "tlb",
            lambda session: tlb_view(session, focus.cpu(session)),
            first=("virt", "size", "phys", "stale", "flags", "cached_in"),
            is_slow=True,
        ),
        Listing("tlbs", tlb_view, headings={"walk_refs": "refs"}, is_slow=True),
        Listing("pagetables", pagetables_view, headings={"entry_bytes": "wide"}, is_slow=True),
        Listing(
            "slabinfo",
            slabinfo_view,
            headings={
                "active_objs": "active",
                "num_objs": "objects",
                "objsize": "bytes",
                "objperslab": "per slab",
                "pagesperslab": "pages",
                "active_slabs": "in use",
                "num_slabs": "slabs",
            },
        ),
        Listing(
            "modules",
            modules_view,
            first=(
                "module",
                "size",
                "used",
                "state",
                "core_addr",
                "percpu_ptr",
                "percpu_size",
                "areas",
            ),
            headings={"percpu_ptr": "percpu", "percpu_size": "bytes"},
        ),
        Listing("symbols", percpu_symbols_view, is_slow=True),
        Listing(
            "hotplug",
            hotplug_view,
            first=("state", "name", "cpus", "section", "startup", "teardown"),
        ),
        Listing(FAULT, fault_view),
    )


def _output(focus: Focus) -> Listing:
    return Listing(OUTPUT, lambda session: focus.output or Table("no command yet", (), ()))


BENEATH = tuple(listing.name for listing in _beneath(Focus()))


def stack_line(session: Session, focus: Focus) -> str:
    """Return the kernel stack of the CPU that is looked at, innermost function first."""
    cpu = focus.cpu(session)
    frames = [str(row[1]) for row in stack_view(session, cpu).rows]
    return f"cpu {cpu}: {' ◂ '.join(frames) if frames else 'idle'}"


def walked(session: Session, focus: Focus) -> str:
    """Return which address is walked, and whose it is."""
    whose = "typed" if focus.typed_address is not None else f"cpu {focus.cpu(session)}"
    return f"{focus.address(session):#x} {whose}"
