from __future__ import annotations

from collections.abc import Callable

from tui.debugger.session import Session
from tui.screens.prompt_screen import PromptScreen

Hand = Callable[..., object]


async def test_a_search_finds_an_address_and_call_sites_one_after_the_other(
    recorded: Session, screen: Hand, type_in: Hand
) -> None:
    async with screen(recorded, at=1000) as (app, pilot):
        chunk_map = app.desk.map_pane.chunk_map
        base = recorded.machine.percpu.chunks[1].base_addr
        await type_in(pilot, "slash", f"{base + 0x8000:#x}")
        assert chunk_map.at == (1, 0x8000)
        await type_in(pilot, "slash", "net_alloc")
        found = chunk_map.at
        assert "net_alloc" in app.status.text
        await type_in(pilot, "slash", "")
        assert chunk_map.at != found
        await type_in(pilot, "slash", "nobody_calls_this")
        assert isinstance(app.screen, PromptScreen)
