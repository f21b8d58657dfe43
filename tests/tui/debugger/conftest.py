"""A small machine to look at: four CPUs on two nodes, three areas, one chunk beside the boot ones."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from kernel_sim.config import MachineConfig
from snapshots.opening import open_any
from tui.debugger.console import execute
from tui.debugger.output import Output
from tui.debugger.session import Session

EXAMPLES = Path(__file__).parents[3] / "examples" / "machines"
OBJECTS = Path(__file__).parents[2] / "modules" / "objects"
FIRST_PTR = 0x37000  # of the first dynamic allocation on this machine


@pytest.fixture(scope="session")
def boot_example() -> Callable[[str], Session]:
    """Boot a machine of the examples by its name."""

    def booted(name: str) -> Session:
        path = EXAMPLES / f"{name}.toml"
        config = MachineConfig.from_mapping(tomllib.loads(path.read_text()), where=path.name)
        return Session.boot(config)

    return booted


@pytest.fixture(scope="session")
def demo() -> Session:
    """Return the demo at its end; for tests that only look."""
    return _opened_demo()


@pytest.fixture
def session(boot_example: Callable[[str], Session]) -> Session:
    return boot_example("numa2-4cpu")


@pytest.fixture
def tell(session: Session) -> Callable[[str], Output]:
    """Carry out command lines on the session; returns the last answer."""

    def carry_out(*lines: str) -> Output:
        output = Output()
        for line in lines:
            output = asyncio.run(execute(session, line))
        return output

    return carry_out


@pytest.fixture
def busy(session: Session, tell: Callable[..., Output]) -> Session:
    """Return the session after four allocations, of which one is freed again and one made a chunk."""
    tell("alloc 0 64", "alloc 1 100", "alloc 2 32000", "alloc 3 8", f"free 0 {FIRST_PTR:#x}")
    return session


def _opened_demo() -> Session:
    opened = open_any(EXAMPLES.parent / "demo.kms")
    session = Session(opened.timeline)
    session.go_now(session.end_step)
    return session


def unit_start(session: Session, chunk: int, cpu: int) -> int:
    """Return where the unit of a CPU begins in a chunk."""
    machine = session.machine
    return machine.percpu.chunks[chunk].base_addr + machine.places.unit_offsets[cpu]
