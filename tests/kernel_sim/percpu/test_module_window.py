"""Slack first, then the window: against a model that marks bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_sim.errors import InvariantBroken
from kernel_sim.percpu.module_window import ModuleWindow, WindowSection, page_numbers

MAIL = 17892


def enter(window: ModuleWindow, size: int, align: int = 4, name: str = "m") -> WindowSection | None:
    section = window.find(name, size, align)
    if section is not None:
        window.sections.append(section)
        window.populated |= section.pages
    return section


def test_the_mails_slack_and_the_windows_limit() -> None:
    window = ModuleWindow.of_section(MAIL)
    assert (window.slack_bytes, window.area_bytes) == (2588, 20480)
    first = enter(window, 2588)
    assert first is not None and not first.in_window and first.offset_bytes == MAIL
    second = enter(window, 20480)
    assert second is not None and second.in_window and page_numbers(second.pages) == [0, 1, 2, 3, 4]
    assert enter(window, 1) is None
    window.check()


@pytest.mark.parametrize(("size", "align", "fits"), [(2560, 128, True), (2561, 128, False)])
def test_alignment_takes_its_part_of_the_slack(size: int, align: int, fits: bool) -> None:
    section = ModuleWindow.of_section(MAIL).find("m", size, align)
    assert section is not None and section.in_window is not fits


def test_a_kernel_that_fills_its_pages_leaves_no_slack() -> None:
    window = ModuleWindow.of_section(8192)
    section = enter(window, 1)
    assert window.slack_bytes == 0 and section is not None and section.in_window


def test_pages_are_shared_and_go_with_the_last_section() -> None:
    window = ModuleWindow.of_section(8192)
    for name, size in (("a", 3000), ("b", 3000)):
        enter(window, size, name=name)
    assert window.populated == 0b11
    del window.sections[0]
    assert window.unused_pages() == 0, "b touches both pages"
    del window.sections[0]
    assert window.unused_pages() == 0b11
    with pytest.raises(InvariantBroken, match="used by nobody"):
        window.check()
    window.check(is_idle=False)


@given(
    static=st.integers(1, 9000),
    moves=st.lists(
        st.one_of(
            st.tuples(st.integers(1, 6000), st.sampled_from([1, 4, 32, 128])),
            st.integers(0, 20),
        ),
        max_size=40,
    ),
)
def test_a_section_goes_to_the_first_bytes_that_are_free(
    static: int, moves: list[tuple[int, int] | int]
) -> None:
    window = ModuleWindow.of_section(static)
    marks = [bytearray(b"\1" * static + bytes(window.slack_bytes)), bytearray(window.area_bytes)]
    for move in moves:
        if isinstance(move, int):
            if window.sections:
                gone = window.sections.pop(move % len(window.sections))
                marks[gone.in_window][gone.offset_bytes : gone.end_bytes] = bytes(gone.size_bytes)
                window.populated &= ~window.unused_pages()
        else:
            size, align = move
            expected = next(
                (
                    (in_window, at)
                    for in_window in (False, True)
                    for at in range(0, window.area_bytes - size + 1, align)
                    if not any(marks[in_window][at : at + size])
                ),
                None,
            )
            section = enter(window, size, align)
            found = None if section is None else (section.in_window, section.offset_bytes)
            assert found == expected
            if section is not None:
                marks[section.in_window][section.offset_bytes : section.end_bytes] = b"\1" * size
        window.check()
        taken = [sum(mark) for mark in marks]
        assert window.free_bytes == (window.area_bytes - taken[0], window.area_bytes - taken[1])


@pytest.mark.parametrize(
    ("section", "populated", "expected"),
    [
        (WindowSection("m", False, 100, 4), 0, "taken already"),
        (WindowSection("m", False, 20476, 8), 0, "ends behind"),
        (WindowSection("m", True, 0, 0), 0, "taken already"),
        (WindowSection("m", True, 4096, 4), 1, "no page there"),
        (WindowSection("m", True, -4, 8), 1, "taken already"),
        (WindowSection("m", True, 0, 4), 1 << 5 | 1, "windows of 20480"),
        (WindowSection("m", True, 0, 4), -1, "windows of 20480"),
    ],
)
def test_contradictions_are_found(section: WindowSection, populated: int, expected: str) -> None:
    window = ModuleWindow(MAIL, 20480, [section], populated)
    with pytest.raises(InvariantBroken, match=expected):
        window.check()
