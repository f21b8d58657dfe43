"""A run to look at: forty calls of named tasks, two chunks made, one of them destroyed, one failure."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from kernel_sim.config import MachineConfig
from tui.app import KmemscopeApp
from tui.debugger.console import execute
from tui.debugger.session import Session

NUMA2 = Path(__file__).parents[2] / "examples" / "machines" / "numa2-4cpu.toml"
OBJECTS = Path(__file__).parents[1] / "modules" / "objects"
PLAIN = {"memory": {"pages": "plain"}, "tlb": {"profile": "none"}}  # neither lists nor TLBs
GFP_KERNEL, GFP_NOWAIT = 0xCC0, 0xA20
NO_LIMIT = 1 << 62
SITES = ("alloc_vfsmnt+0x50/0x1d0", "__alloc_percpu+0x1a", "net_alloc+0x9c", "blk_mq_init+0x33")
TASKS = ("systemd-1", "kworker/0:1-7", "ip-412", "mount-96")


@pytest.fixture(autouse=True)
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of tests do not move."""
    monkeypatch.setenv("TEXTUAL_ANIMATIONS", "none")


@pytest.fixture
def recorded() -> Session:
    """Return the run, standing at its end."""
    table = tomllib.loads(NUMA2.read_text()) | PLAIN
    session = Session.boot(MachineConfig.from_mapping(table, where=NUMA2.name))
    line = 0

    def give(do: str, cpu: int, *args: int | str | bool) -> int:
        nonlocal line
        line += 1
        number = session.timeline.give(do, cpu, args, line=line, by=TASKS[cpu])
        session.timeline.advance(NO_LIMIT)
        result = session.result(number)
        return result if isinstance(result, int) else 0

    def alloc(nr: int, size: int, gfp: int = GFP_KERNEL) -> int:
        return give("pcpu_alloc", nr % 4, size, 8, False, gfp, SITES[nr % len(SITES)])

    small = [alloc(nr, 16 << nr % 6) for nr in range(24)]
    for ptr in small[::3]:
        give("free_percpu", 2, ptr)
    large = [alloc(nr, 32 << 10) for nr in range(40)]
    alloc(3, 32 << 10, GFP_NOWAIT)
    alloc(2, 4096, GFP_NOWAIT)
    for ptr in large:
        give("free_percpu", 1, ptr)
    give("kworker", 0)
    return session


@pytest.fixture
def beneath() -> Session:
    """Return a run that used the machine beneath: areas, slab, a module, stale TLBs, a CPU gone."""
    config = MachineConfig.from_mapping(tomllib.loads(NUMA2.read_text()), where=NUMA2.name)
    session = Session.boot(config)
    for line in (
        "alloc 0 64", "alloc 1 32000", "kmalloc 60", "vmalloc 20000", "vmalloc 5000 cpu=2",
        "pages 0 cpu=3", f"insmod {OBJECTS / 'plain-x86-64.o'} 'init: a = pcpu_alloc 64 8'",
        "load 0 0xffffc90000000000", "load 0 0xffffc90000006000", "vfree 0xffffc90000006000",
        "cpu down 3",
    ):  # fmt: skip
        asyncio.run(execute(session, line))
    return session


@pytest.fixture
def faulted(beneath: Session) -> Session:
    """Return the run after a CPU wrote to the guard page of an area."""
    asyncio.run(execute(beneath, "store 1 0xffffc90000005000 5"))
    return beneath


WIDE = (120, 40)
SECONDS_MAX = 200  # for one test: whoever waits for a move that has ended otherwise is told so


@asynccontextmanager
async def _screen(
    session: Session, size: tuple[int, int] = WIDE, at: int | None = None
) -> AsyncIterator[tuple[KmemscopeApp, Pilot[None]]]:
    if at is not None:
        session.go_now(at)
    app = KmemscopeApp(session)
    async with asyncio.timeout(SECONDS_MAX), app.run_test(size=size) as pilot:
        await pilot.pause()
        yield app, pilot
        await app.workers.wait_for_complete()


async def _settle(app: KmemscopeApp, pilot: Pilot[None]) -> None:
    while app.mover.is_moving:
        await asyncio.sleep(0)
    await pilot.pause()


async def _type_in(pilot: Pilot[None], key: str, text: str) -> None:
    await pilot.press(key)
    await pilot.press(*("space" if letter == " " else letter for letter in text), "enter")
    await pilot.pause()


@pytest.fixture
def screen() -> Callable[..., object]:
    """Show a session on a screen: `async with screen(session, size, at) as (app, pilot)`."""
    return _screen


@pytest.fixture
def settle() -> Callable[..., object]:
    """Wait for the move under way: `await settle(app, pilot)`."""
    return _settle


@pytest.fixture
def type_in() -> Callable[..., object]:
    """Open a prompt by its key and answer it: `await type_in(pilot, key, text)`."""
    return _type_in
