"""Finding an object in the map: by address, or by a part of the call site that made it."""

from __future__ import annotations

from kernel_sim.mm.page import PAGE_SHIFT
from kernel_sim.percpu.md_block import MIN_ALLOC_BYTES
from tui.debugger.addresses import PERCPU, PHYSICAL, parse_address, parse_number
from tui.debugger.areas import area_owner, birth_facts_of_ptr
from tui.debugger.chunk_names import chunk_name
from tui.debugger.errors import CommandError
from tui.debugger.owners import whatis
from tui.debugger.session import Session
from tui.debugger.strips import copies_of, find_stretch
from tui.debugger.views.chunk_map import chunks_in_order, unit_origin

Found = tuple[int, int, str]  # chunk, unit offset, and what to say of it


def find_in_map(session: Session, text: str, after: tuple[int, int] | None) -> Found:
    """Return where on the map an address lies, or the next area whose call site has the text.

    after: chunk and unit offset to begin behind; the search goes round. Raises CommandError.
    """
    if not text:
        raise CommandError("expected an address, or a part of a call site")
    if is_address(session, text):
        return _by_address(session, text)
    found: list[tuple[int, int]] = []
    for chunk in chunks_in_order(session.machine):
        origin = unit_origin(session.machine, chunk)
        for bit, _ in chunk.areas():
            off = bit * MIN_ALLOC_BYTES
            birth, given = area_owner(session, chunk.base_addr, off)
            site = getattr(birth.event, "call_site", "") if birth is not None else ""
            task = given.by if given is not None else ""
            if text in site or (task and text in task):
                found.append((chunk.number, origin + off))
    if not found:
        raise CommandError(
            f"no area now in any chunk was made by {text!r}; expected a part of a call site"
        )
    at = next((i for i, place in enumerate(found) if after is None or place > after), 0)
    return *found[at], f"{at + 1} of {len(found)} areas made by {text}"


def find_in_strips(session: Session, text: str, after_ptr: int) -> tuple[int, str]:
    """Return an address on the map of strips: that named, or of the next area whose call site has the text.

    after_ptr: the area to begin behind; the search goes round. With it what to say. Raises CommandError.
    """
    machine = session.machine
    if not text:
        raise CommandError("expected an address, or a part of a call site")
    if is_address(session, text):
        return _strip_address(session, text), ""
    found: list[int] = []
    ptrs = [ptr for ptr, _ in machine.system.live_areas()]
    for ptr in ptrs:
        facts = dict(birth_facts_of_ptr(session, ptr))
        if text in str(facts["call_site"]) or text in str(facts.get("task", "")):
            found.append(ptr)
    if not found:
        raise CommandError(f"no area now was made by {text!r}; expected a part of a call site")
    behind = ptrs.index(after_ptr) if after_ptr in ptrs else -1
    at = next((i for i, ptr in enumerate(found) if ptrs.index(ptr) > behind), 0)
    copies = copies_of(machine, found[at], 1)
    return copies[0][1], f"{at + 1} of {len(found)} areas made by {text}"


def _strip_address(session: Session, text: str) -> int:
    kind, value = parse_address(session.machine, text)
    addr: int | None = value
    if kind == PERCPU:
        copies = copies_of(session.machine, value, 1)
        addr = copies[0][1] if copies else None
    elif kind == PHYSICAL:
        addr = parse_number(str(dict(whatis(session, text).facts).get("mapped_at", "")))
    if addr is None or find_stretch(session.machine, addr) is None:
        raise CommandError(f"{text} is not on the map: it is {whatis(session, text).summary}")
    return addr


def is_address(session: Session, text: str) -> bool:
    """Say whether a text reads as an address."""
    try:
        parse_address(session.machine, text)
    except CommandError:
        return False
    return True


def _by_address(session: Session, text: str) -> Found:
    owner = whatis(session, text)
    machine = session.machine
    static = machine.alloc_info.static_size_bytes
    chunk = machine.percpu.chunks.get(owner.chunk) if owner.chunk is not None else None
    if (
        chunk is not None
        and owner.offset is not None
        and 0 <= owner.offset < chunk.nr_pages << PAGE_SHIFT
    ):
        return chunk.number, unit_origin(machine, chunk) + owner.offset, ""
    if owner.offset is not None and 0 <= owner.offset < static:
        return min(machine.percpu.chunks), owner.offset, ""
    where = f", which {chunk_name(owner.chunk)} does not show" if owner.chunk is not None else ""
    raise CommandError(f"{text} is not on the map{where}: it is {owner.summary}")
