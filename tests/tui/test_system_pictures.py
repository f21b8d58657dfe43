"""What machines of other per-CPU systems look like. Every picture was looked at before it was kept."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kernel_sim.percpu.catalogue import CATALOGUE
from tests.tui.system_sessions import ptrs_of, session_of, tell
from tests.tui.test_app_pictures import NARROW, WIDE, after
from tui.app import KmemscopeApp
from tui.debugger.session import Session

OBJECT = "tests/modules/objects/wide-{arch}.o"
DRAWN = ("legacy-static", "block-2005", "rostedt-2006-modules", "rostedt-2006-vm", "chunk-2009")


def story(system: str) -> Session:
    """Ten areas of several sizes, two of them freed, and a module with a per-CPU section."""
    session = session_of(system)
    for cpu, size in enumerate((64, 200, 1000, 16, 4, 128, 300, 64, 64, 2000)):
        tell(session, f"alloc {cpu % 4} {size}")
    ptrs = ptrs_of(session)
    arch = session.machine.arch.name
    tell(session, f"free 0 percpu:{ptrs[3]:#x}", f"free 1 percpu:{ptrs[6]:#x}")
    tell(session, f"insmod {OBJECT.format(arch=arch)}")
    return session


@pytest.mark.parametrize("size", [NARROW, WIDE], ids=["narrow", "wide"])
@pytest.mark.parametrize("system", [name for name in DRAWN if name in CATALOGUE])
def test_the_map_of_its_own_structures(
    snap_compare: Callable[..., bool], system: str, size: tuple[int, int]
) -> None:
    """Its strips with the last call's changes in amber; beneath, its areas."""
    app = KmemscopeApp(story(system), light=system.startswith("block"))
    assert snap_compare(app, terminal_size=size, run_before=after("P", "N", "1"))


@pytest.mark.parametrize("system", ["legacy-static"])
def test_the_whole_map_with_the_copies_of_an_area(
    snap_compare: Callable[..., bool], system: str
) -> None:
    """Zoomed to the whole screen; the copies of the area under the cursor are bright."""
    app = KmemscopeApp(story(system))
    keys = after("z", *["pagedown"] * 3, "up", "up", "right", "right")
    assert snap_compare(app, terminal_size=WIDE, run_before=keys)
