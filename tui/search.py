"""Finding an object in the chunk map: by address, or by a part of the call site that made it."""

from __future__ import annotations

from kernel_sim.mm.page import PAGE_SHIFT
from kernel_sim.percpu.md_block import MIN_ALLOC_BYTES
from tui.debugger.addresses import parse_address
from tui.debugger.areas import area_owner
from tui.debugger.chunk_names import chunk_name
from tui.debugger.errors import CommandError
from tui.debugger.owners import whatis
from tui.debugger.session import Session
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
