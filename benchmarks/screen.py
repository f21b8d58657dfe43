"""How long until the app shows its first frame, and from a key press to the painted frame."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time

from textual import events

from snapshots.opening import Opened

FIRST_FRAME = """
import asyncio, pathlib, sys
from snapshots.opening import open_any
from tui.app import KmemscopeApp
from tui.debugger.session import Session

async def main() -> None:
    opened = open_any(pathlib.Path(sys.argv[1]))
    app = KmemscopeApp(Session(opened.timeline, opened.origin, opened.name))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()

asyncio.run(main())
"""


def measure(opened: Opened, nr_keys: int) -> dict[str, float]:
    """Return the figures of the screen, in seconds and milliseconds."""
    os.environ["TEXTUAL_ANIMATIONS"] = "none"
    demo = "examples/demo.kms"
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", FIRST_FRAME, demo], check=True, timeout=120)
    first = time.perf_counter() - start
    keys = asyncio.run(_keys(opened, nr_keys))
    return {
        "process start to first frame s (demo)": first,
        "key press to painted frame p50 ms": statistics.median(keys),
        "key press to painted frame p99 ms": sorted(keys)[int(len(keys) * 0.99)],
    }


async def _keys(opened: Opened, nr_keys: int) -> list[float]:
    from tui.app import KmemscopeApp
    from tui.debugger.session import Session
    from tui.garbage import collect_rarely

    collect_rarely()  # as run_app() does
    session = Session(opened.timeline, opened.origin, opened.name)
    session.go_now(session.end_step // 2)
    app = KmemscopeApp(session)
    times: list[float] = []
    async with app.run_test(size=(200, 50)) as pilot:
        await pilot.pause()
        for index in range(nr_keys):
            key = "n" if index % 2 else "p"
            before = session.step
            painted = asyncio.Event()
            start = time.perf_counter()
            app.post_message(events.Key(key, key))
            while session.step == before or app.mover.is_moving:
                await asyncio.sleep(0)
            app.call_after_refresh(painted.set)
            await painted.wait()
            times.append(1000 * (time.perf_counter() - start))
    return times
