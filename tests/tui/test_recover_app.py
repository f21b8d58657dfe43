"""The offer of dead sessions, by keyboard and mouse."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from textual.widgets import DataTable

from snapshots.journal import Place
from snapshots.journal_folder import DeadSession
from tui.recover_app import QUIT, RecoverApp


def dead(number: int, unsaved: bool = True) -> DeadSession:
    place = Place(
        0, 812, 4711, 3 if unsaved else 0, unsaved, f"/tmp/run{number}.kms", "", f"run{number}", 0
    )
    return DeadSession(Path(f"/tmp/{number}.kms"), place, 1_700_000_000 + number, 1000)


async def outcome(*keys: str, nr_rows: int = 2) -> tuple[DeadSession | None, int, list[Path]]:
    gone: list[Path] = []
    app = RecoverApp([dead(number) for number in range(nr_rows)], lambda row: gone.append(row.path))
    async with app.run_test(size=(80, 24)) as pilot:
        for key in keys:
            await pilot.press(key)
            await pilot.pause()
    return app.return_value, app.return_code or 0, gone


async def test_enter_goes_on_with_the_one_under_the_cursor() -> None:
    chosen, code, gone = await outcome("down", "enter")
    assert chosen is not None and chosen.path == Path("/tmp/1.kms")
    assert (code, gone) == (0, [])


async def test_escape_opens_what_was_asked_for_and_q_leaves() -> None:
    assert await outcome("escape") == (None, 0, [])
    assert await outcome("q") == (None, QUIT, [])


async def test_d_discards_only_when_pressed_twice_on_the_same_row() -> None:
    assert (await outcome("d", "escape"))[2] == []
    assert (await outcome("d", "down", "d", "escape"))[2] == []
    assert (await outcome("d", "d", "escape"))[2] == [Path("/tmp/0.kms")]


async def test_when_all_are_discarded_one_goes_on() -> None:
    chosen, code, gone = await outcome("d", "d", nr_rows=1)
    assert (chosen, code, gone) == (None, 0, [Path("/tmp/0.kms")])


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["narrow", "wide"])
def test_the_offer(snap_compare: Callable[..., bool], size: tuple[int, int], monkeypatch) -> None:
    """Two dead sessions with where they stood and what would be lost; the keys below."""
    monkeypatch.setattr("tui.recover_app.time.localtime", time.gmtime)
    app = RecoverApp([dead(0), dead(1, unsaved=False)], lambda row: None)
    assert snap_compare(app, terminal_size=size)


async def test_what_would_be_lost_is_counted_and_the_keys_stand_on_one_line() -> None:
    row = dead(0)
    assert row.place is not None
    one = replace(row, place=replace(row.place, nr_unsaved=1))
    app = RecoverApp([one], lambda row: None)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert app.query_one("#recover-table", DataTable).get_row_at(0)[-1] == "1 input"
        assert app.query_one("#recover-hint").size.height == 1
