from __future__ import annotations

import pytest

from snapshots.logs.trace_line import NO_FRONT, Front, excerpt, read_front


def front(text: str) -> Front | None:
    return read_front(text + ": percpu_free_percpu: …", len(text))


def test_no_text_before_the_event_is_a_rendering_too() -> None:
    assert front("") == NO_FRONT


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "     init-1  [001] .....    16.848366",
            ("init", 1, 1, ".....", 16_848_366_000, "s", "default"),
        ),
        (" init-1 [001] 16.848366", ("init", 1, 1, None, 16_848_366_000, "s", "noirq-info")),
        (" init-1 [001] .....   3", ("init", 1, 1, ".....", 3, "", "default")),
        ("a-1 (   7) [001] ..... 3.5", ("a", 1, 1, ".....", 3_500_000_000, "s", "tgid")),
        ("kworker/-9  12d..1. 15us@", ("kworker/", 9, 12, "d..1.", 15_000, "us", "latency-format")),
        ("a-9  1d..1. 15us ", ("a", 9, 1, "d..1.", 15_000, "us", "latency-format")),
        ("a-9  1d..1. 15", ("a", 9, 1, "d..1.", 15, "", "latency-format")),
        ("a-9  1d..1. 1.5", ("a", 9, 1, "d..1.", 1_500_000_000, "s", "latency-format")),
    ],
)
def test_each_rendering_is_read(text: str, expected: tuple[object, ...]) -> None:
    assert front(text) == expected


@pytest.mark.parametrize(
    "text", ["init", "init-1", "init-1 [1]", "init 1 [1] 1.0", "x" * 300 + "-1 [001] ..... 1.0"]
)
def test_anything_else_is_no_rendering(text: str) -> None:
    assert front(text) is None


def test_an_excerpt_is_short_and_printable() -> None:
    assert excerpt("ab\x1bc\n", 1) == repr("b\x1bc")
    assert len(excerpt("x" * 1000, 0)) < 70
