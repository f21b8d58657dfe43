from __future__ import annotations

from collections.abc import Callable

from tui.debugger.session import Session

Hand = Callable[..., object]


async def test_the_walk_follows_the_cursor_and_the_cpu_or_a_typed_address(
    recorded: Session, screen: Hand, type_in: Hand
) -> None:
    async with screen(recorded, at=1000) as (app, pilot):
        machine = recorded.machine
        app.desk.map_pane.chunk_map.go_to(1, 0x3000)
        await pilot.press("u")
        await pilot.pause()
        assert app.desk.focus_on.address(recorded) == machine.percpu.chunks[1].base_addr + 0x3000
        await pilot.press("u")
        await pilot.pause()
        wanted = machine.percpu.chunks[1].base_addr + machine.places.unit_offsets[1] + 0x3000
        assert f"{wanted:#x}" in str(app.desk.walk.border_subtitle)
        await type_in(pilot, "v", f"{machine.percpu.base_addr:#x}")
        await pilot.pause()
        assert f"{machine.percpu.base_addr:#x} typed" == app.desk.walk.border_subtitle
