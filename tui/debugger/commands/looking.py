"""Looking: every view by its name, owners of addresses, bytes of memory, the state's digest."""

from __future__ import annotations

from collections.abc import Callable

from tui.debugger.commands import percpu_systems
from tui.debugger.commands.registry import (
    ADDRESS,
    CHUNK,
    CPU,
    MODULE,
    NUMBER,
    OWNED,
    TABLE_ONLY,
    TEXT_ONLY,
    Argument,
    Carry,
    Command,
    Seat,
    one_of,
)
from tui.debugger.errors import CommandError
from tui.debugger.output import Output
from tui.debugger.owners import whatis
from tui.debugger.table import DEC, Column, Table
from tui.debugger.views.areas import areas_view
from tui.debugger.views.blocks import blocks_view
from tui.debugger.views.chunks import chunks_view
from tui.debugger.views.cpus import cpus_view
from tui.debugger.views.divergences import divergences_view
from tui.debugger.views.events import events_view
from tui.debugger.views.fault import fault_view
from tui.debugger.views.hexdump import hexdump_view
from tui.debugger.views.hotplug import hotplug_view
from tui.debugger.views.inferred import inferred_view
from tui.debugger.views.inputs import inputs_view
from tui.debugger.views.locks import locks_view
from tui.debugger.views.log import log_lines, log_view
from tui.debugger.views.modules import module_view, modules_view
from tui.debugger.views.offsets import offsets_view
from tui.debugger.views.pagelists import pagelists_view
from tui.debugger.views.pagetables import pagetables_view
from tui.debugger.views.percpu_symbols import percpu_symbols_view
from tui.debugger.views.proc import proc_lines, proc_names, proc_view
from tui.debugger.views.slabinfo import slabinfo_view
from tui.debugger.views.slots import slots_view
from tui.debugger.views.stack import stack_view
from tui.debugger.views.stats import stats_lines, stats_view
from tui.debugger.views.tlb import tlb_view
from tui.debugger.views.walk import walk_view
from tui.debugger.views.work import work_view
from tui.debugger.views.zones import zones_view

GROUP = "looking"
WHY = "asking why"
BENEATH = "the machine beneath"
DUMP_BYTES = 64
DUMP_BYTES_MAX = 1 << 16
WINDOW_MAX = 100_000

View = Callable[..., Table]


def _shows(view: View) -> Carry:
    """Return the command that shows a view, with the view's own arguments."""

    async def show(seat: Seat, *values: int | str) -> Output:
        return Output(table=view(seat.session, *values))

    return show


async def show_stats(seat: Seat) -> Output:
    """Show percpu_stats as the kernel prints it."""
    return Output(stats_lines(seat.session), stats_view(seat.session))


async def show_log(seat: Seat) -> Output:
    """Show the kernel log as the kernel keeps it."""
    return Output(log_lines(seat.session) or ("the log is empty",), log_view(seat.session))


async def show_proc(seat: Seat, name: str) -> Output:
    """Show a file of the kernel as it prints it, or its rows."""
    lines = proc_lines(seat.session, name) if seat.wants != TABLE_ONLY else ()
    if lines and seat.wants == TEXT_ONLY:
        return Output(lines)
    return Output(lines, proc_view(seat.session, name, seat.rows_max))


def _prints(name: str) -> Carry:
    """Return the command that shows one file of the kernel."""

    async def show(seat: Seat) -> Output:
        return await show_proc(seat, name)

    return show


async def show_fault(seat: Seat) -> Output:
    """Show why the machine stopped, if it did."""
    table = fault_view(seat.session)
    return Output(table=table, ok=not table.rows)


async def show_stack(seat: Seat, cpu: int | None = None) -> Output:
    """Show the call stack of a CPU; without a number that of the one which ran last."""
    machine = seat.session.machine
    last = machine.scheduler.last_cpu
    ran = last if last in machine.cpus else machine.topology.possible[0]
    return Output(table=stack_view(seat.session, ran if cpu is None else cpu))


async def show_owner(seat: Seat, address: str) -> Output:
    """Say who owns an address."""
    return Output(table=whatis(seat.session, address).to_table())


async def examine(seat: Seat, address: int, length: int = DUMP_BYTES) -> Output:
    """Show bytes of simulated memory."""
    if not 0 < length <= DUMP_BYTES_MAX:
        raise CommandError(f"x: {length} bytes: expected 1 to {DUMP_BYTES_MAX}")
    if address + length - 1 > seat.session.machine.arch.address_mask:
        raise CommandError(f"x: {address:#x} and {length} bytes: that is beyond the last address")
    return Output(table=hexdump_view(seat.session, address, length))


async def show_digest(seat: Seat) -> Output:
    """Show the digest of the whole state."""
    session = seat.session
    digest = session.digest()
    columns = (Column("step", DEC), Column("digest"))
    table = Table(f"Digest at step {session.step}", columns, ((session.step, digest),))
    return Output((f"{session.step} {digest}",), table)


def _window(view: View) -> Carry:
    async def show(seat: Seat, before: int = 20, after: int = 10) -> Output:
        return Output(table=view(seat.session, min(before, WINDOW_MAX), min(after, WINDOW_MAX)))

    return show


def _view(name: str, view: View, text: str, *arguments: Argument) -> Command:
    return Command(name, (), GROUP, arguments, text, _shows(view))


IN_CHUNK = Argument("CHUNK", CHUNK)
WINDOW = (Argument("BEFORE", NUMBER, optional=True), Argument("AFTER", NUMBER, optional=True))
AT = Argument("ADDRESS", ADDRESS)
ONE_CPU = Argument("CPU", CPU, optional=True)

COMMANDS = (
    _view("chunks", chunks_view, "all chunks"),
    _view(
        "areas", areas_view, "live areas, of a chunk or all, with who made them",
        Argument("CHUNK", CHUNK, optional=True),
    ),
    _view("blocks", blocks_view, "hints of a chunk, page by page", IN_CHUNK),
    _view("slots", slots_view, "lists of chunks in search order"),
    _view(
        "cpus", cpus_view, "CPUs, their registers, calls and waits; unit_base in CHUNK",
        Argument("CHUNK", CHUNK, optional=True),
    ),
    Command(
        "stack", ("bt",), GROUP, (ONE_CPU,), "kernel call stack of a CPU, else of that which ran last",
        show_stack,
    ),
    _view("locks", locks_view, "locks, holders, waiters"),
    _view("work", work_view, "the background work"),
    _view("offsets", offsets_view, "every CPU's unit of every chunk, or offset and register"),
    _view(
        "walk", walk_view, "page-table walk of an address, and what a CPU's TLB holds for it",
        AT, ONE_CPU,
    ),
    Command("fault", (), GROUP, (), "why the machine stopped: reason, CR2, owner, stack", show_fault),
    Command("events", (), GROUP, WINDOW, "events around the present", _window(events_view)),
    Command("inputs", (), GROUP, WINDOW, "inputs around the present", _window(inputs_view)),
    Command("log", ("dmesg",), GROUP, (), "the kernel log so far", show_log),
    Command("stats", ("percpu_stats",), GROUP, (), "percpu_stats, in the kernel's form", show_stats),
    Command(
        "whatis", ("who",), GROUP, (Argument("ADDRESS", OWNED),),
        "who owns an address: 0x…, phys:0x…, pfn:0x…, percpu:0x…@CPU, a symbol", show_owner,
    ),
    Command(
        "x", ("hexdump",), GROUP, (AT, Argument("LENGTH", NUMBER, optional=True)),
        "bytes of simulated memory; nobody takes a step for it", examine,
    ),
    Command("digest", (), GROUP, (), "digest of the whole state", show_digest),
    Command("inferred", ("why",), WHY, (), "what the log does not say", _shows(inferred_view)),
    Command("divergences", (), WHY, (), "where the log was followed", _shows(divergences_view)),
)  # fmt: skip


def _file(name: str, text: str) -> Command:
    return Command(name, (), BENEATH, (), f"{text}, in the kernel's form", _prints(name))


BENEATH_COMMANDS = (
    Command("zones", (), BENEATH, (), "memory zones: pages, watermarks, free blocks", _shows(zones_view)),
    Command(
        "pagelists", ("pcp",), BENEATH, (), "single pages that each CPU keeps at hand, by zone",
        _shows(pagelists_view),
    ),
    Command("slabinfo", (), BENEATH, (), "slab classes and their objects", _shows(slabinfo_view)),
    Command(
        "tlb", (), BENEATH, (ONE_CPU,), "counters of all TLBs; of one CPU its entries, stale ones too",
        _shows(tlb_view),
    ),
    Command("pagetables", (), BENEATH, (), "page tables by level", _shows(pagetables_view)),
    Command("hotplug", (), BENEATH, (), "steps of CPU hotplug, and who stands where", _shows(hotplug_view)),
    Command("lsmod", ("modules",), BENEATH, (), "loaded modules", _shows(modules_view)),
    Command(
        "module", ("modinfo",), BENEATH, (Argument("MODULE", MODULE),),
        "sections, symbols and per-CPU variables of a module", _shows(module_view),
    ),
    Command(
        "symbols", (), BENEATH, (), "per-CPU variables by name, the kernel's and modules'",
        _shows(percpu_symbols_view),
    ),
    _file("buddyinfo", "free blocks of every zone"),
    _file("zoneinfo", "zones, watermarks and page lists"),
    _file("pagetypeinfo", "free blocks by type"),
    _file("vmallocinfo", "areas of vmalloc space"),
    _file("meminfo", "where all memory is"),
    _file("kallsyms", "per-CPU symbols"),
    _file("iomem", "physical addresses"),
    Command(
        "proc", ("cat",), BENEATH, (Argument("NAME", one_of(*proc_names())),),
        "any file that the kernel prints, to the letter", show_proc,
    ),
)  # fmt: skip
VMALLOC = "vmalloc"  # lists areas unless it is given a size; its row stands with what acts


def view_names() -> tuple[str, ...]:
    """Return the names of all views, as `kmemscope show` takes them."""
    commands = (*COMMANDS, *percpu_systems.COMMANDS, *BENEATH_COMMANDS)
    return (*(command.name for command in commands), VMALLOC)
