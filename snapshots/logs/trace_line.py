"""Where the event of an ftrace line stands and what is before it, in every rendering.

    TASK-PID     (  TGID) [CPU] flags   seconds: event: fields     record-tgid
    TASK-PID     [CPU] flags            seconds: event: fields     the default
    TASK-PID     [CPU]                  seconds: event: fields     noirq-info, trace-cmd report
    TASK-PID    CPUflags   microseconds us mark: event: fields     latency-format
    event: fields                                                  nocontext-info

Read from the middle: an event's name is longer than a task's can be (15 bytes), so the first
place where one stands is the event. What lies before it is matched as a whole and from the right,
because a task may hold spaces, dashes, colons and brackets.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from snapshots.errors import TraceError

# Lengths are bounded: int() refuses numbers of thousands of digits, and no kernel prints them.
STAMP = r"([0-9]{1,20}(?:\.[0-9]{1,9})?)"
PRINTK_TIME = r"(?:\[ *[0-9]+\.[0-9]+\] )?"  # before each line of a dump at a crash
TASK_PID = r" *+(.*)-([0-9]{1,10})"
FRONT_CHARS_MAX = 250
EXCERPT_CHARS = 60
NS_PER_US = 1000
NS_PER_S = 1_000_000_000
FRACTION_DIGITS = 9

EVENT = re.compile(
    "(?:^|: (?:b?print: )? *)"
    "(percpu_alloc_percpu(?:_fail)?|percpu_free_percpu|percpu_create_chunk|percpu_destroy_chunk"
    r"|tracing_mark_write)(?: <[0-9a-f]+>|\+0x[0-9a-f]+/0x[0-9a-f]+)?:(?: +|$|(?=\n))"
)
FRONT = re.compile(
    PRINTK_TIME + TASK_PID + r" +(?:\( *([0-9]+|-+)\) +)?\[([0-9]{1,5})\] +(?:(\S{3,8}) +)?" + STAMP
)
LATENCY_FRONT = re.compile(
    PRINTK_TIME + TASK_PID + r" +([0-9]{1,5})([^0-9\s]\S{2,7}) +" + STAMP + r"(us[^\w\s]? ?)?"
)
LOST = re.compile(r"CPU:[0-9]+ \[(?:LOST (?:[0-9]+ )?EVENTS|[0-9]+ EVENTS DROPPED)\]")
NAMELESS = re.compile(r"(?:^|[0-9]: +)percpu_(?:(?:alloc|free)_percpu|(?:create|destroy)_chunk)")
OTHER_EVENT = re.compile(r".{0,60}?[0-9](?:us.?)?: +([A-Za-z_]\w{0,63})(?::| <)")
RAW = re.compile(r"[0-9]+ [0-9]+ [0-9]+ type: [0-9]+\s*$")
HEX = re.compile(r"[0-9a-f]{8} [0-9a-f]{8} [0-9a-f]{16} type: [0-9]+\s*$")


class Front(NamedTuple):
    """Who wrote the line, where and when; unit is "s" or "us" for times, "" for counts."""

    task: str
    pid: int
    cpu: int | None
    flags: str | None
    stamp: int | None
    unit: str
    rendering: str


NO_FRONT = Front("", -1, None, None, None, "", "nocontext-info")


def read_front(line: str, end: int) -> Front | None:
    """Return what stands before the event at column end; None if it is no known rendering."""
    if end == 0:
        return NO_FRONT
    if end > FRONT_CHARS_MAX:
        return None
    found = FRONT.fullmatch(line, 0, end)
    if found is not None:
        task, pid, tgid, cpu, flags, stamp = found.groups()
        rendering = "tgid" if tgid else "default" if flags else "noirq-info"
        unit = "s" if "." in stamp else ""
        return Front(task, int(pid), int(cpu), flags, _stamp_of(stamp), unit, rendering)
    found = LATENCY_FRONT.fullmatch(line, 0, end)
    if found is None:
        return None
    task, pid, cpu, flags, stamp, micro = found.groups()
    if micro and "." not in stamp:
        return Front(
            task, int(pid), int(cpu), flags, int(stamp) * NS_PER_US, "us", "latency-format"
        )
    unit = "s" if "." in stamp else ""
    return Front(task, int(pid), int(cpu), flags, _stamp_of(stamp), unit, "latency-format")


def _stamp_of(text: str) -> int:
    """Return nanoseconds for seconds with a fraction, else the number itself."""
    whole, dot, fraction = text.partition(".")
    if not dot:
        return int(whole)
    return int(whole) * NS_PER_S + int(fraction.ljust(FRACTION_DIGITS, "0"))


def excerpt(line: str, column: int) -> str:
    """Return a piece of the line for a message, unprintable characters escaped."""
    piece = line[column : column + EXCERPT_CHARS].rstrip("\n")
    return repr(piece + "…" if len(line.rstrip("\n")) > column + EXCERPT_CHARS else piece)


def malformed(source: str, line_no: int, line: str, column: int, expected: str) -> TraceError:
    """Return the error to raise about a line."""
    place = f"{source}: line {line_no}, column {column + 1}"
    return TraceError(f"{place}: {excerpt(line, column)}; expected {expected}")
