"""Inputs as lines of a script that the console understands, so that a run can be typed again.

    Input(step=4, do="pcpu_alloc", cpu=1, args=(64, 8, …))      alloc 1 64 8
    calls that overlap                                          alloc 1 64 8 later
                                                                run 3

What no command can say (a module's file, a log's placements) is a comment. Numbers are those of the run, so
a line is right as long as all before it are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kernel_sim.call import Arg
from kernel_sim.inputs import Input
from kernel_sim.mm.gfp import GFP_ATOMIC, GFP_KERNEL, gfp_to_text
from tui.debugger.event_text import argument_text

LINES: Final = {
    "free_percpu": "free {cpu} {0:#x}",
    "kworker": "kworker {cpu}",
    "fail_pages": "fail-pages {0}",
    "fail_page_alloc": "fail page-alloc {0}",
    "cpuhp_fail": "fail hotplug {0} {1}",
    "purge_vmap": "purge",
    "run_to_lock": "park {cpu} {0}",
    "unpark": "unpark {cpu}",
    "kmalloc_node": "kmalloc {0} node={2} gfp={gfp} cpu={cpu}",
    "kfree": "kfree {0:#x} cpu={cpu}",
    "vmalloc": "vmalloc {0} cpu={cpu}",
    "vfree": "vfree {0:#x} cpu={cpu}",
    "alloc_pages": "pages {0} node={2} gfp={gfp} cpu={cpu}",
    "free_pages": "free_pages {0} {1} cpu={cpu}",
    "drain_all_pages": "drain cpu={cpu}",
    "cpu_up": "cpu up {0} cpu={cpu}",
    "cpu_down": "cpu down {0} cpu={cpu}",
    "delete_module": "rmmod {0} cpu={cpu}",
    "this_cpu_read": "read {cpu} {0:#x} {1}",
    "this_cpu_write": "write {cpu} {0:#x} {1} {2}",
    "read": "load {cpu} {0:#x} {1}",
    "write": "store {cpu} {0:#x} {1} {2}",
}
GFP_AT: Final = {"kmalloc_node": 1, "alloc_pages": 1}
NO_LATER: Final = ("read", "write", "load", "store", "kworker", "purge", "park", "unpark")
OWN_NODE: Final = " node=-1"
COMMENT: Final = "# "


def script_lines(inputs: Sequence[Input], idle: Sequence[bool]) -> list[str]:
    """Return the lines of a run; idle tells which inputs were given to an idle machine."""
    lines: list[str] = []
    for place, given in enumerate(inputs):
        overlaps = place + 1 < len(inputs) and not idle[place + 1]
        lines.append(line_of(given, later=overlaps))
        gap = inputs[place + 1].step - given.step if overlaps else 0
        if gap > 0:
            lines.append(f"run {gap}")
    if inputs and lines[-1].split()[-1:] == ["later"]:
        lines.append("run")
    return lines


def line_of(given: Input, *, later: bool = False) -> str:
    """Return one input as a line; a comment if there is no such command."""
    text = _command(given)
    if text is None or (later and text.split()[0] in NO_LATER):
        args = " ".join(_shown(arg) for arg in given.args)
        return f"{COMMENT}{given.do} {args} on cpu {given.cpu}".rstrip()
    return f"{text} later" if later else text


def _command(given: Input) -> str | None:
    if given.do == "pcpu_alloc":
        return _alloc(given)
    if given.do == "fail_pages" and given.args == (-1,):
        return "fail-pages never"
    if given.do == "fail_page_alloc" and given.args == ("",):
        return "fail page-alloc off"
    form = LINES.get(given.do)
    if form is None:
        return None
    at = GFP_AT.get(given.do)
    gfp = gfp_to_text(int(str(given.args[at]))) if at is not None else ""
    return form.format(*given.args, cpu=given.cpu, gfp=gfp).replace(OWN_NODE, "")


def _alloc(given: Input) -> str | None:
    """Return an alloc line; the command knows two kinds of flags only."""
    size, align, reserved, gfp, _ = given.args
    words = {GFP_KERNEL: "", GFP_ATOMIC: " atomic"}.get(int(str(gfp)))
    if words is None:
        return None
    return f"alloc {given.cpu} {size!r} {align!r}{words}{' reserved' if reserved else ''}"


def _shown(arg: Arg) -> str:
    return f"({len(arg)} bytes)" if isinstance(arg, bytes) else argument_text(arg)
