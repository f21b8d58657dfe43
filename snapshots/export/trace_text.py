"""A line of an ftrace log, written as the kernel writes it: what trace_line.py and trace_fields.py read.

              ip-792     [002] d..1.     0.065870: percpu_free_percpu: base_addr=… off=8 ptr=…
    TASK-PID             CPU   flags     position   event: fields of its TP_printk

The per-CPU events read exactly as in Linux; the others bear the kernel's names and their fields as
name=value, and events that have no tracepoint in Linux read the same way. Everything is one line.

Time is the position: step 65870 is 0.065870 seconds, one step a microsecond.
Source: Linux 6.1, include/trace/events/percpu.h and print_event_info() in kernel/trace/trace_output.c.
"""

from __future__ import annotations

import re

from kernel_sim.events import (
    EVENT_NAMES,
    Event,
    PercpuAllocPercpu,
    PercpuFreePercpu,
    Printk,
    TlbFlush,
)
from kernel_sim.mm.gfp import gfp_to_text

STEPS_PER_S = 1_000_000
TASK_FLAGS = "....."
IRQ_FLAGS = "d.h1."
LOCKED_FLAGS = "d..1."  # a free tells of itself inside pcpu_lock
POINTERS = ("base_addr", "ptr", "addr", "address", "start", "end")
IN_HEX = ("pfn", "error_code")
FLUSH_REASONS = {1: "remote shootdown", 2: "local shootdown"}
TASK_CHARS_MAX = 120  # a front is read up to a limit; real tasks have 15
_OWN_LINE = re.compile(r"[^\x20-\x7e]")
_TASK_PID = re.compile(r".*-[0-9]{1,10}")

HEADER = """\
#                                _-----=> irqs-off/BH-disabled
#                               / _----=> need-resched
#                              | / _---=> hardirq/softirq
#                              || / _--=> preempt-depth
#                              ||| / _-=> migrate-disable
#                              |||| /     delay
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
#              | |         |   |||||     |         |
"""


def trace_header(nr_events: int, nr_cpus: int) -> str:
    """Return the lines with which the kernel begins a log of so many events that lost none."""
    counts = f"# entries-in-buffer/entries-written: {nr_events}/{nr_events}   #P:{nr_cpus}\n"
    return f"# tracer: nop\n#\n{counts}#\n{HEADER}"


def stamp_text(step: int) -> str:
    """Return a position as seconds with six decimals."""
    seconds, rest = divmod(step, STEPS_PER_S)
    return f"{seconds}.{rest:06}"


def task_text(by: str, pid: int) -> str:
    """Return who did it as TASK-PID: by itself if it is that already, else with the pid."""
    name = _OWN_LINE.sub("?", by).replace("#", "?")[:TASK_CHARS_MAX].strip()  # no comment of ours
    return name if _TASK_PID.fullmatch(name) else f"{name or 'task'}-{pid}"


def trace_line(step: int, cpu: int, task: str, event: Event, *, irq: bool, word_bytes: int) -> str:
    """Return the line of an event, with its newline."""
    flags = IRQ_FLAGS if irq else TASK_FLAGS
    if isinstance(event, PercpuFreePercpu) and not irq:
        flags = LOCKED_FLAGS
    name, _, pid = task.rpartition("-")
    return f"{name:>16}-{pid:<7} {cpu_text(cpu)} {flags} {what_text(step, event, word_bytes)}\n"


def cpu_text(cpu: int) -> str:
    """Return a CPU as a line has it."""
    return f"[{cpu:03}]"


def what_text(step: int, event: Event, word_bytes: int) -> str:
    """Return the part of a line that tells when what happened: all but who did it."""
    fields = fields_text(event, word_bytes)
    return f"{stamp_text(step):>12}: {EVENT_NAMES[type(event)]}: {fields}"


def fields_text(event: Event, word_bytes: int) -> str:
    """Return an event's fields as the kernel prints them, in one line of printable characters."""
    digits = 2 * word_bytes
    if isinstance(event, PercpuAllocPercpu):
        text = (
            f"call_site={event.call_site} reserved={event.reserved:d} is_atomic={event.is_atomic:d}"
            f" size={event.size} align={event.align} base_addr={event.base_addr:0{digits}x}"
            f" off={event.off} ptr={event.ptr:0{digits}x} bytes_alloc={event.bytes_alloc}"
            f" gfp_flags={gfp_to_text(event.gfp_flags)}"
        )
    elif isinstance(event, PercpuFreePercpu):
        text = f"base_addr={event.base_addr:0{digits}x} off={event.off} ptr={event.ptr:0{digits}x}"
    elif isinstance(event, Printk):
        text = f"<{event.level}>{event.text}"
    elif isinstance(event, TlbFlush):
        text = f"pages:{event.pages} reason:{FLUSH_REASONS.get(event.reason, event.reason)}"
    else:
        values = event._asdict()
        text = " ".join(f"{name}={_value(name, each, digits)}" for name, each in values.items())
    return _OWN_LINE.sub("?", text)


def _value(name: str, value: int | str | bool, digits: int) -> str:
    if isinstance(value, str):
        return value
    if name in POINTERS:
        return f"{value:0{digits}x}"
    if name in IN_HEX:
        return f"{value:#x}"
    if name == "gfp_flags":
        return gfp_to_text(value)
    return str(int(value))
