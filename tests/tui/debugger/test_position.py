from __future__ import annotations

import contextlib
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.debugger.errors import CommandError
from tui.debugger.position import EXPECTED, is_number, parse_position


@dataclass(frozen=True)
class Road:
    """A line of steps with events on some of them."""

    first_step: int = 100
    end_step: int = 300
    step: int = 150
    events: tuple[int, ...] = (100, 120, 120, 300)

    def event_step(self, number: int) -> int | None:
        return self.events[number] if 0 <= number < len(self.events) else None


BOOKMARKS = {"here": 170, "too-far": 999, "end": 111}


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("start", 100),
        ("end", 300),
        ("123", 123),
        ("  123 ", 123),
        ("000123", 123),
        ("+10", 160),
        ("-50", 100),
        ("+0", 150),
        ("#0", 100),
        ("#2", 120),
        ("#3", 300),
        ("@here", 170),
        ("@end", 111),
        ("0%", 100),
        ("50%", 200),
        ("100%", 300),
        ("0.5%", 101),
        ("33.333%", 166),
        ("100.0%", 300),
    ],
)
def test_every_form_of_a_position_leads_to_its_step(text: str, step: int) -> None:
    assert parse_position(text, Road(), BOOKMARKS) == step


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "x", "1.5", "0x10", "1_0", "٣", "--1", "+-1", "+", "-", "#", "#4", "#-1", "#x", "@",
        "@nowhere", "%", "5%%", "-5%", ".5%", "5.x%", "1e2", "Start", "1 2", "9" * 19, "#" + "9" * 19,
        "9" * 5000,
    ],
)  # fmt: skip
def test_what_is_no_position_is_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(CommandError) as refused:
        parse_position(text, Road(), BOOKMARKS)
    assert str(refused.value) == f"{text.strip()!r} is no position: {EXPECTED}"


@pytest.mark.parametrize(
    ("text", "step"),
    [("99", 99), ("301", 301), ("-51", 99), ("+151", 301), ("@too-far", 999), ("101%", 302)],
)
def test_a_step_outside_the_run_is_refused_with_the_ends_of_the_run(text: str, step: int) -> None:
    with pytest.raises(CommandError) as refused:
        parse_position(text, Road(), BOOKMARKS)
    said = f"{text}: step {step} is not in this recording: expected 100 to 300"
    assert str(refused.value) == said


def test_without_bookmarks_no_name_is_known() -> None:
    with pytest.raises(CommandError, match="no position"):
        parse_position("@here", Road())


def test_a_run_of_no_length_has_one_position() -> None:
    road = Road(first_step=5, end_step=5, step=5, events=())
    for text in ("start", "end", "5", "0%", "50%", "100%", "+0"):
        assert parse_position(text, road) == 5


@given(st.text(max_size=30) | st.from_regex(r"[-+#@%.0-9]{1,12}", fullmatch=True))
def test_any_text_is_a_step_of_the_run_or_refused(text: str) -> None:
    with contextlib.suppress(CommandError):
        assert 100 <= parse_position(text, Road(), BOOKMARKS) <= 300


@given(st.text(max_size=25))
def test_a_number_is_what_int_reads_and_nobody_has_to_wonder_about(text: str) -> None:
    assert is_number(text) == (0 < len(text) <= 18 and all(each in "0123456789" for each in text))
