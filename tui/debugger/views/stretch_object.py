"""What a cell of the stretch map stands for, in words: what it is, whose, how large, its other copies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel_sim.percpu.stretch import DATA_KINDS, DYNAMIC, SHARED, STATIC
from tui.debugger.areas import birth_facts_of_ptr
from tui.debugger.strips import Strip, copies_of
from tui.debugger.symbols import module_variable_at, percpu_symbol_at
from tui.debugger.table import count
from tui.debugger.views.map_object import bytes_text
from tui.debugger.views.strip_layout import StripPlace

if TYPE_CHECKING:
    from tui.debugger.session import Session

COPIES_SHOWN = 3


def main_offset(strip: Strip, place: StripPlace) -> int:
    """Return where the weightiest stretch of a cell begins in it: the first in use, else the largest."""
    start, end = place.start_bytes, place.start_bytes + place.size_bytes
    pieces = range(strip.index_at(start), strip.index_at(end - 1) + 1)
    spans = {
        number: min(strip.starts[number] + strip.stretches[number].size_bytes, end)
        - max(strip.starts[number], start)
        for number in pieces
    }
    in_use = (each for each in pieces if strip.stretches[each].kind in DATA_KINDS)
    main = next(in_use, max(spans, key=lambda each: spans[each]))
    return max(strip.starts[main], start)


def describe_stretch(
    session: Session, strip: Strip, place: StripPlace, at_bytes: int | None = None
) -> str:
    """Return one line that says what a cell of a strip stands for; at_bytes: the byte that is meant."""
    at = main_offset(strip, place) if at_bytes is None else at_bytes
    nr_pieces = strip.index_at(place.start_bytes + place.size_bytes - 1)
    nr_pieces += 1 - strip.index_at(place.start_bytes)
    first = strip.index_at(at)
    stretch = strip.stretches[first]
    where = f"{strip.name} +{at:#x}"
    text = f"{where}  {stretch.what}, {bytes_text(stretch.size_bytes)} at {stretch.addr:#x}"
    if stretch.cpu != SHARED and stretch.cpu != strip.cpu:
        text += f"  cpu {stretch.cpu}"
    if stretch.node >= 0:
        text += f"  node {stretch.node}"
    if stretch.kind == STATIC:
        name = percpu_symbol_at(session.machine, at - strip.starts[first])
        text += f"  {name}" if name else ""
    if stretch.ptr:
        text += f"  {_area_text(session, stretch.ptr, stretch.kind)}"
    if nr_pieces > 1:
        text += f"  (and {count(nr_pieces - 1, 'more piece')} in this cell)"
    return text


def _area_text(session: Session, ptr: int, kind: str) -> str:
    """Return the ptr, who asked for it, and where its first copies are."""
    machine = session.machine
    text = f"ptr {ptr:#x}"
    owned = module_variable_at(machine, ptr)
    if owned is not None:
        text += f"  {owned[1] or 'section'} of module {owned[0].name}"
    if kind == DYNAMIC:
        facts = dict(birth_facts_of_ptr(session, ptr))
        text += f"  {facts['call_site']}"
        if "task" in facts:
            text += f"  {facts['task']}"
        if "born_step" in facts:
            text += f"  born at step {facts['born_step']}"
    copies = copies_of(machine, ptr, len(machine.topology.possible))
    shown = ", ".join(f"{cpu}:{addr:#x}" for cpu, addr in copies[:COPIES_SHOWN])
    more = f" … {len(copies)} in all" if len(copies) > COPIES_SHOWN else ""
    return f"{text}  copies {shown}{more}" if copies else text
