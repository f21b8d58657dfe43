"""A debugging session without a screen, as a test would hold it: `python examples/headless_session.py`.

Two CPUs of a two-node machine allocate at the same time under a seeded schedule. We look at the call
stacks in between, write to a per-CPU variable, go back to before the write, look again, act in the past
(which starts a branch), and save and reopen the run.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from kernel_sim.config import MachineConfig
from snapshots.opening import open_any
from tui.debugger.session import Session

MACHINE = {
    "name": "two-nodes",
    "cpus": {"possible": "0-3"},
    "node": [{"cpus": "0-1", "memory_mib": 512}, {"cpus": "2-3", "memory_mib": 512}],
    "schedule": {"policy": "random", "seed": 42},
}
GFP_KERNEL = 0xCC0


async def main() -> None:
    """Hold the session and say what is seen."""
    session = Session.boot(MachineConfig.from_mapping(MACHINE, where="example"))

    first = session.give(0, "pcpu_alloc", 20_000, 64, False, GFP_KERNEL, "driver_a+0x10/0x80")
    second = session.give(2, "pcpu_alloc", 20_000, 64, False, GFP_KERNEL, "driver_b+0x10/0x80")
    await session.run(steps=6)
    for number, cpu in session.machine.cpus.items():
        if cpu.current is not None:
            waits = cpu.current.wish.name if cpu.current.wish else "nothing"
            print(
                f"step {session.step}: cpu {number} {' < '.join(cpu.current.frames())}, waits for {waits}"
            )
    await session.run()
    ptr, other = session.result(first), session.result(second)
    assert isinstance(ptr, int) and isinstance(other, int)
    print(f"step {session.step}: two areas, at __percpu {ptr:#x} and {other:#x}")

    before = session.step
    await session.call(1, "this_cpu_write", ptr, 0xC0FFEE, 4)
    print(f"cpu 1 reads {await session.call(1, 'this_cpu_read', ptr, 4):#x}")
    print(f"cpu 2 reads {await session.call(2, 'this_cpu_read', ptr, 4):#x}: a copy of its own")
    end, digest = session.step, session.digest()

    await session.go(before)
    phys = session.machine.space.translate(session.machine.cpus[1].gs_base + ptr)
    assert phys is not None
    held = session.machine.memory.read(phys, 4).hex()
    print(f"back at step {session.step}: cpu 1's copy holds {held} at physical {phys:#x}")
    await session.go(end)
    assert session.digest() == digest

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "session.kms"
        session.save(str(path))
        again = Session(open_any(path).timeline)
        await again.go(end)
        assert again.digest() == digest
        print(f"saved, reopened: step {again.step}, digest {again.digest()}, the same")

    await session.go(before)
    await session.call(1, "free_percpu", ptr)
    print(
        f"branch {session.tree.current.name} from step {before}; main is kept as it was;"
        f" now at {session.here}"
    )


if __name__ == "__main__":
    asyncio.run(main())
