"""A machine's state, part by part, as builtin types, and back into a machine.

    part              what                                       dumped anew when
    clock             step, scheduler, work, warn counters       always
    calls             calls under way or in line (digest only)   always
    log               the kernel log                             it grew
    percpu, chunk.N   the bitmap allocator's                     something in a chunk changed
    system, system.N  another per-CPU system's                   something in it changed
    pages             zones, free lists                          a page was given or taken
    vmalloc           areas                                      always (there are few)
    tables            which pages hold page tables               one was added
    frame.PFN         4096 bytes of a touched page               it was written
    …                 what optional_parts.py lists               it is no longer as boot made it

Unchanged parts are the same object as in the dump before, so that two moments share them and going back
touches only what differs. A part that claims to be unchanged is held against a fresh dump by check().
"""

from __future__ import annotations

from typing import TypeAlias, cast

from kernel_sim.errors import InvariantBroken, KernelBug
from kernel_sim.machine import Fault, Machine, Work
from kernel_sim.mm.page import PAGE_SIZE_BYTES
from kernel_sim.mm.page_alloc import PageAllocator, PageAllocatorState, PageHousekeepingState
from kernel_sim.mm.vmalloc import VmallocSpace, VmallocState
from kernel_sim.optional_parts import (
    assume,
    dump_optional,
    load_optional,
    note_versions,
    stale_part,
)
from kernel_sim.same_state import is_same

Dump: TypeAlias = tuple[object, ...]
Parts: TypeAlias = dict[str, object]


def dump_parts(machine: Machine) -> Parts:
    """Return all parts of the machine by name; the caller must not change what is in them."""
    cache = machine.part_cache
    parts: Parts = {
        "clock": _clock(machine),
        "calls": _calls(machine),
        "vmalloc": machine.vmalloc.dump(),
        **machine.system.dump(cache),
    }
    parts["log"] = _kept(cache, "log", len(machine.kernel_log), lambda: tuple(machine.kernel_log))
    version = pages_version(machine.pages)
    parts["pages"] = _kept(cache, "pages", version, machine.pages.dump)
    parts["tables"] = _kept(
        cache, "tables", machine.space.tables_version, lambda: tuple(machine.space.table_pfns)
    )
    dump_optional(machine, parts)
    frames = machine.memory.frames
    for pfn in machine.memory.take_changed():
        if pfn in frames:
            cache[f"frame.{pfn}"] = bytes(frames[pfn])
    for pfn in frames:
        parts[f"frame.{pfn}"] = cache[f"frame.{pfn}"]
    machine.part_cache = {name: parts[name] for name in parts}
    machine.part_cache |= {name: cache[name] for name in cache if name.startswith("version.")}
    return parts


def _kept(cache: Parts, name: str, version: object, dump):  # type: ignore[no-untyped-def]
    """Return the cached part if its version is as it was, else dump it anew."""
    if cache.get(f"version.{name}") != version or name not in cache:
        cache[name] = dump()
        cache[f"version.{name}"] = version
    return cache[name]


def pages_version(pages: PageAllocator) -> tuple[int, ...]:
    """Return numbers that differ whenever a page was taken or given back in between."""
    return (pages.version, pages.fail_after)


def _clock(machine: Machine) -> Dump:
    fault = machine.fault
    return (
        machine.step,
        machine.scheduler.dump(),
        machine.work.queued_cpu,
        machine.work.nr_requests,
        _fault(fault) if fault else (),
    )


def _fault(fault: Fault) -> Dump:
    where = (fault.step, fault.cpu, fault.reason, fault.frames)
    return where if fault.addr < 0 else (*where, fault.addr, fault.error_code)


def _calls(machine: Machine) -> Dump:
    rows: list[Dump] = []
    for number, cpu in machine.cpus.items():
        if cpu.stack or cpu.pending or cpu.interrupts:
            lines = [cpu.stack, cpu.pending, cpu.interrupts]
            if not cpu.interrupts:
                lines.pop()
            row = [tuple(call.progress() for call in line) for line in lines]
            rows.append((number, *row))
    return tuple(rows)


def load_parts(machine: Machine, parts: Parts) -> None:
    """Bring the machine to the dumped moment, touching only parts that differ.

    What runs now is dropped. Raises KernelBug for a moment with calls under way: those live in
    coroutines and are reached by running there.
    """
    if parts["calls"]:
        raise KernelBug("a moment with calls under way cannot be restored, only reached by running")
    _drop_calls(machine)
    cache = machine.part_cache
    _load_clock(machine, cast("Dump", parts["clock"]))
    machine.system.load(parts, cache)
    _load_frames(machine, parts)
    if _differs(cache, parts, "log") or len(machine.kernel_log) != cache.get("version.log"):
        machine.kernel_log = [
            (level, text) for level, text in cast("list[tuple[int, str]]", parts["log"])
        ]
    pages_differ = _differs(cache, parts, "pages") or (
        cache.get("page_lists") is not parts.get("page_lists")
    )
    if pages_differ or pages_version(machine.pages) != cache.get("version.pages"):
        lists = parts.get("page_lists", machine.boot_parts["page_lists"])
        machine.pages.restore(
            cast("PageAllocatorState", parts["pages"]), cast("PageHousekeepingState", lists)
        )
    assume(machine.vmalloc, VmallocSpace.load(cast("VmallocState", parts["vmalloc"])))
    load_optional(machine, parts)
    machine.space.table_pfns = dict.fromkeys(cast("tuple[int, ...]", parts["tables"]))
    machine.part_cache = dict(parts)
    machine.part_cache["version.log"] = len(machine.kernel_log)
    machine.part_cache["version.pages"] = pages_version(machine.pages)
    machine.part_cache["version.tables"] = machine.space.tables_version
    note_versions(machine)
    machine.events = []


def _drop_calls(machine: Machine) -> None:
    for number in machine.active:
        cpu = machine.cpus[number]
        for call in cpu.stack:
            if call.path is not None:
                call.path.close()
        cpu.stack.clear()
        cpu.pending.clear()
    if machine.nr_held_back:
        for cpu in machine.cpus.values():
            cpu.interrupts.clear()
        machine.nr_held_back = 0
    for lock in (machine.cpu_add_remove_lock, machine.cpu_hotplug_lock, machine.modules.mutex):
        lock.release()
    machine.active.clear()


def _differs(cache: Parts, parts: Parts, name: str) -> bool:
    return cache.get(name) is not parts[name]


def _load_clock(machine: Machine, clock: Dump) -> None:
    step, scheduler, queued_cpu, nr_requests, _ = cast("tuple[int, Dump, int, int, Dump]", clock)
    machine.step = step
    machine.scheduler.load(scheduler)
    machine.work = Work(queued_cpu, nr_requests)
    machine.fault = None


def _load_frames(machine: Machine, parts: Parts) -> None:
    memory, cache = machine.memory, machine.part_cache
    written = dict.fromkeys(memory.take_changed())
    wanted: dict[int, None] = {}
    for name, part in parts.items():
        if name.startswith("frame."):
            pfn = int(name[6:])
            wanted[pfn] = None
            if pfn in written or pfn not in memory.frames or cache.get(name) is not part:
                if not isinstance(part, bytes) or len(part) != PAGE_SIZE_BYTES:
                    raise KernelBug(f"{name} is no page of bytes")
                memory.frames[pfn] = bytearray(part)
    for pfn in [pfn for pfn in memory.frames if pfn not in wanted]:
        del memory.frames[pfn]
    memory.take_changed()


def check_cache(machine: Machine) -> None:
    """Raise InvariantBroken if a part that claims to be unchanged differs from its last dump."""
    cache = machine.part_cache
    unnoticed = machine.system.unnoticed_change(cache)
    if unnoticed:
        raise InvariantBroken(f"{unnoticed} changed without saying so")
    changed = machine.memory.changed
    for pfn, frame in machine.memory.frames.items():
        name = f"frame.{pfn}"
        if pfn not in changed and name in cache and cache[name] != bytes(frame):
            raise InvariantBroken(f"frame {pfn:#x} changed without saying so")
    stale = stale_part(machine)
    if stale is not None:
        raise InvariantBroken(f"part {stale} changed without saying so")
    version = pages_version(machine.pages)
    if cache.get("version.pages") == version and not is_same(cache["pages"], machine.pages.dump()):
        raise InvariantBroken("the page allocator changed without saying so")
