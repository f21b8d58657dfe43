from __future__ import annotations

import pytest

from tui.panes.sizes import short_size, size_text


@pytest.mark.parametrize(
    ("nr_bytes", "text", "short"),
    [
        (0, "0 B", "0"),
        (4, "4 B", "4"),
        (1 << 10, "1 KiB", "1K"),
        (1536, "1536 B", "1536"),
        (1 << 20, "1 MiB", "1M"),
        (3 << 30, "3 GiB", "3G"),
    ],
)
def test_a_size_is_said_exactly_in_few_letters(nr_bytes: int, text: str, short: str) -> None:
    assert (size_text(nr_bytes), short_size(nr_bytes)) == (text, short)
