"""Acting: calls for CPUs and turns of the machine's knobs, from the present on.

Acting in the past begins a branch: what came after is kept with the old one. A call is run to its
end at once, unless the word `later` follows: then it waits until the run goes on, so that calls on
several CPUs can be interleaved step by step.
"""

from __future__ import annotations

from kernel_sim.call import Arg
from kernel_sim.errors import KernelFault
from kernel_sim.mm.gfp import GFP_ATOMIC, GFP_KERNEL
from snapshots.branches import Branch
from tui.debugger.commands.outcomes import access_cost, tlb_counters, why_no_memory, why_refused
from tui.debugger.commands.registry import (
    NUMBER,
    ONLINE_CPU,
    PTR,
    Argument,
    Command,
    Kind,
    Seat,
    Value,
    one_of,
)
from tui.debugger.commands.stepping import where
from tui.debugger.errors import CommandError
from tui.debugger.output import Output
from tui.debugger.session import Session

GROUP = "acting"
CALL_SITE = "kmemscope"
WORD_BYTES = 8
ALIGN_DEFAULT = 8
LATER = "later"
FLAGS = ("atomic", "reserved", LATER)
NEVER = "never"


async def act(seat: Seat, cpu: int, do: str, *args: Arg, later: bool = False) -> Output | object:
    """Give an input and, unless it is for later, run; returns its result, or what went wrong."""
    session = seat.session
    if session.machine.fault is not None:
        raise CommandError(
            "the machine has stopped at a fault (see fault): go back before the call that did it,"
            f" to step {session.fault_begin_step()}, and act there"
        )
    before, step = session.tree.current, session.step
    if later:
        session.give(cpu, do, *args)
        remarks = _branch_remark(session, before, step)
        return where(session, *remarks, f"{do} waits on cpu {cpu}; step or run lets it go on")
    try:
        return await session.call(cpu, do, *args)
    except KernelFault:
        return where(session, *_branch_remark(session, before, step))
    finally:
        seat.remarks = _branch_remark(session, before, step)


def _branch_remark(session: Session, before: Branch, step: int) -> tuple[str, ...]:
    """Say that acting in the past began a branch, if it did."""
    branch = session.tree.current
    if branch is before:
        return ()
    return (f"branch {branch.name} begins at step {step}; {before.name} keeps what came after",)


def told(seat: Seat, text: str, *remarks: str) -> Output:
    """Return an answer in words: what came of a call, then what else is to say."""
    session = seat.session
    remarks = (*remarks, *seat.remarks)
    lines = (text, *remarks, f"step {session.here}")
    return Output(lines, where(session, text, *remarks).table)


async def alloc(seat: Seat, cpu: int, size: int, *words: Value) -> Output:
    """Ask for per-CPU memory; the words are an alignment and flags in any order."""
    numbers = [word for word in words if isinstance(word, int)]
    if len(numbers) > 1:
        raise CommandError(f"alloc: {numbers[1]} is a second alignment")
    gfp = GFP_ATOMIC if "atomic" in words else GFP_KERNEL
    align = numbers[0] if numbers else ALIGN_DEFAULT
    first_event = seat.session.event_index
    result = await act(
        seat, cpu, "pcpu_alloc", size, align, "reserved" in words, gfp, CALL_SITE,
        later=LATER in words,
    )  # fmt: skip
    if isinstance(result, Output):
        return result
    if result is None:
        return told(seat, f"pcpu_alloc on cpu {cpu} has not ended: see stack {cpu}")
    if result:
        return told(seat, f"ptr {result:#x}")
    refused = why_refused(seat.session, first_event, size)
    if refused is not None:
        return told(seat, f"refused: {size} bytes, alignment {align}: ptr 0", *refused)
    why = why_no_memory(seat.session, first_event)
    return told(seat, f"no room for {size} bytes: ptr 0", *why)


async def free(seat: Seat, cpu: int, ptr: int, *words: str) -> Output:
    """Give per-CPU memory back."""
    result = await act(seat, cpu, "free_percpu", ptr, later=LATER in words)
    return result if isinstance(result, Output) else told(seat, f"freed {ptr:#x}")


async def read(seat: Seat, cpu: int, ptr: int, size: int = WORD_BYTES) -> Output:
    """Let a CPU read its copy of a variable."""
    before = tlb_counters(seat.session, cpu)
    result = await act(seat, cpu, "this_cpu_read", ptr, _word_size(size))
    if isinstance(result, Output):
        return result
    cost = access_cost(seat.session, cpu, before)
    return told(seat, f"cpu {cpu} reads {result:#x} at {ptr:#x}{cost}")


async def write(seat: Seat, cpu: int, ptr: int, value: int, size: int = WORD_BYTES) -> Output:
    """Let a CPU write its copy of a variable."""
    before = tlb_counters(seat.session, cpu)
    result = await act(seat, cpu, "this_cpu_write", ptr, value, _word_size(size))
    if isinstance(result, Output):
        return result
    cost = access_cost(seat.session, cpu, before)
    return told(seat, f"cpu {cpu} wrote {value:#x} at {ptr:#x}{cost}")


def _word_size(size: int) -> int:
    if not 0 < size <= WORD_BYTES:
        raise CommandError(f"{size} bytes: expected 1 to {WORD_BYTES}")
    return size


async def run(seat: Seat, count: int | None = None) -> Output:
    """Let all CPUs run until nothing is left to do, or for so many steps."""
    session = seat.session
    await session.go(session.end_step, seat.progress)
    await (session.run() if count is None else session.run(count))
    return where(session)


async def kworker(seat: Seat, cpu: int) -> Output:
    """Let the kworker of a CPU do the balance work, asked for or not."""
    result = await act(seat, cpu, "kworker")
    return result if isinstance(result, Output) else where(seat.session, *seat.remarks)


async def fail_pages(seat: Seat, after: Value) -> Output:
    """Let page allocations fail after so many more."""
    number = -1 if after == NEVER else after
    result = await act(seat, _first_cpu(seat), "fail_pages", number)
    remark = "pages never fail" if after == NEVER else f"pages fail after {after} more"
    return result if isinstance(result, Output) else told(seat, remark)


async def purge(seat: Seat) -> Output:
    """Flush lazily freed vmalloc areas."""
    result = await act(seat, _first_cpu(seat), "purge_vmap")
    return result if isinstance(result, Output) else told(seat, "lazily freed areas are free now")


async def park(seat: Seat, cpu: int, nr_lock_waits: int = 1) -> Output:
    """Run one CPU until its call has asked for a lock that often, and hold it there."""
    await act(seat, cpu, "run_to_lock", nr_lock_waits, later=True)
    await seat.session.run(1)
    call = seat.session.machine.cpus[cpu].current
    parked = call is not None and call.parked
    missed = () if parked else (f"nothing on cpu {cpu} came to a lock",)
    return where(seat.session, *seat.remarks, *missed)


async def unpark(seat: Seat, cpu: int) -> Output:
    """Let a parked call go on."""
    result = await act(seat, cpu, "unpark")
    return result if isinstance(result, Output) else where(seat.session, *seat.remarks)


def _first_cpu(seat: Seat) -> int:
    return seat.session.machine.online_cpus()[0]


def _number_or(*choices: str) -> Kind:
    """Return the kind of argument that is a number or one of these words."""
    word_kind = one_of(*choices)

    def read_either(session: Session, word: str) -> Value:
        return word_kind.read(session, word) if word in choices else NUMBER.read(session, word)

    return Kind(read_either, word_kind.offer)


ON = Argument("CPU", ONLINE_CPU)
AT = Argument("PTR", PTR)
SIZE = Argument("SIZE", NUMBER, optional=True)
WORDS = Argument("ALIGN|atomic|reserved|later", _number_or(*FLAGS), optional=True, many=True)
LATER_WORD = Argument("later", one_of(LATER), optional=True)

COMMANDS = (
    Command(
        "alloc", (), GROUP, (ON, Argument("SIZE", NUMBER), WORDS),
        "allocate SIZE bytes of per-CPU memory, called on a CPU", alloc,
    ),
    Command("free", (), GROUP, (ON, AT, LATER_WORD), "free a __percpu pointer", free),
    Command("read", (), GROUP, (ON, AT, SIZE), "a CPU reads its copy, 1 to 8 bytes", read),
    Command(
        "write", (), GROUP, (ON, AT, Argument("VALUE", NUMBER), SIZE),
        "a CPU writes its copy, 1 to 8 bytes", write,
    ),
    Command(
        "run", ("r",), GROUP, (Argument("N", NUMBER, optional=True),),
        "to the newest step, then let all CPUs run on, or for N steps", run,
    ),
    Command("kworker", (), GROUP, (ON,), "do the background work on a CPU now", kworker),
    Command(
        "fail-pages", (), GROUP, (Argument("AFTER", _number_or(NEVER)),),
        "give out AFTER more pages, then none; or never fail", fail_pages,
    ),
    Command("purge", (), GROUP, (), "flush lazily freed vmalloc areas", purge),
    Command(
        "park", (), GROUP, (ON, Argument("N", NUMBER, optional=True)),
        "run a CPU to its N-th wish for a lock and hold it there", park,
    ),
    Command("unpark", (), GROUP, (ON,), "let a parked call go on, and run", unpark),
)  # fmt: skip
