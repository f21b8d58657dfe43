"""How an event reads: its fields as the kernel's tracepoint prints them.

Events that have no tracepoint in Linux are printed in the same manner, field by field.
Source: Linux 6.1 include/trace/events/percpu.h.
"""

from __future__ import annotations

from kernel_sim.call import Arg
from kernel_sim.events import Event, Printk
from kernel_sim.mm.gfp import gfp_to_text

POINTERS = ("base_addr", "ptr")
DECIMAL_MAX = 1 << 20  # a larger argument is an address or a set of flags


def event_fields(event: Event) -> str:
    """Return `name=value` for every field: pointers as 16 hex digits, flags by name."""
    if isinstance(event, Printk):
        return f"<{event.level}>{event.text}"
    values = event._asdict()
    return " ".join(f"{name}={_value(name, value)}" for name, value in values.items())


def _value(name: str, value: int | str | bool) -> str:
    if isinstance(value, str):
        return value
    if name in POINTERS:
        return f"{value:016x}"
    if name == "gfp_flags":
        return gfp_to_text(value)
    return str(int(value))


def argument_text(arg: Arg) -> str:
    """Return an argument of a call as it reads: addresses in hex, sizes in decimal."""
    if isinstance(arg, bytes):
        return arg.hex()
    if isinstance(arg, int) and arg > DECIMAL_MAX:
        return f"{arg:#x}"
    return str(arg)
