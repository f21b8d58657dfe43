from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from snapshots.recording import open_recording
from tui.debugger.session import Session
from tui.screens.prompt_screen import PromptScreen

Hand = Callable[..., object]


async def test_m_names_a_step_to_come_back_to(
    recorded: Session, screen: Hand, settle: Hand, type_in: Hand
) -> None:
    async with screen(recorded, at=700) as (app, pilot):
        await type_in(pilot, "m", "here")
        await pilot.press("n")
        await settle(app, pilot)
        await type_in(pilot, "g", "@here")
        await settle(app, pilot)
        assert recorded.step == 700 and recorded.bookmarks["here"].step == 700


async def test_a_command_is_carried_out_and_its_answer_shown(
    recorded: Session, screen: Hand, settle: Hand, type_in: Hand
) -> None:
    async with screen(recorded, at=1000) as (app, pilot):
        await type_in(pilot, "colon", "zones")
        await settle(app, pilot)
        assert app.desk.drawer.listing_name == "output"
        assert app.desk.drawer.table is not None and app.desk.drawer.table.rows
        await type_in(pilot, "colon", "nonsense")
        await settle(app, pilot)
        assert "no command" in app.status.text and app.status.kind == "error"


async def test_a_command_that_moves_moves_the_screen(
    recorded: Session, screen: Hand, settle: Hand, type_in: Hand
) -> None:
    async with screen(recorded, at=1000) as (app, pilot):
        await type_in(pilot, "colon", "goto 117")
        await settle(app, pilot)
        assert recorded.step == 117 and app.scrubber.here == 117


async def test_whatis_names_the_owner(recorded: Session, screen: Hand) -> None:
    async with screen(recorded, at=1000) as (app, pilot):
        app.desk.map_pane.chunk_map.go_to(1, 0x8000)
        await pilot.press("w")
        await pilot.press("enter")
        await pilot.pause()
        assert "chunk 1" in app.status.text and app.desk.drawer.listing_name == "output"


async def test_s_saves_a_recording_that_can_be_opened(
    recorded: Session, tmp_path: Path, screen: Hand, type_in: Hand
) -> None:
    path = tmp_path / "run.kms"
    async with screen(recorded, at=1000) as (app, pilot):
        await type_in(pilot, "s", str(path))
        assert app.status.kind == "done"
    assert open_recording(path).timeline.end_step == recorded.end_step


async def test_a_file_that_cannot_be_written_is_said_not_thrown(
    recorded: Session, tmp_path: Path, screen: Hand, type_in: Hand
) -> None:
    async with screen(recorded, at=1000) as (app, pilot):
        await type_in(pilot, "s", str(tmp_path / "no" / "such" / "run.kms"))
        assert isinstance(app.screen, PromptScreen)
        assert app.screen.query_one("#prompt-hint").has_class("-error")


async def test_a_file_that_is_there_is_replaced_only_by_force(
    recorded: Session, tmp_path: Path, screen: Hand, type_in: Hand
) -> None:
    mine = tmp_path / "mine.kms"
    mine.write_text("mine")
    async with screen(recorded, at=1000) as (app, pilot):
        await type_in(pilot, "s", str(mine))
        assert isinstance(app.screen, PromptScreen)
        assert mine.read_text() == "mine"
        assert "force" in str(app.screen.query_one("#prompt-hint").render())
        await pilot.press("escape")
        await type_in(pilot, "s", f"{mine} force")
        assert app.status.text == f"saved to {mine}"
    assert open_recording(mine).timeline.end_step == recorded.end_step


async def test_help_on_a_command_is_told_in_full(
    recorded: Session, screen: Hand, settle: Hand, type_in: Hand
) -> None:
    async with screen(recorded, at=1000) as (app, pilot):
        await type_in(pilot, "colon", "help goto")
        await settle(app, pilot)
        assert app.status.text == "to a step, 50%, +10, -10, #event, @bookmark, start or end"
        await type_in(pilot, "colon", "help")
        await settle(app, pilot)
        assert app.status.text.endswith(" commands")
