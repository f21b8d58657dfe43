"""Reading /proc/pagetypeinfo."""

from __future__ import annotations

import pytest

from snapshots.errors import InputError
from snapshots.proc.pagetypeinfo import parse_pagetypeinfo

GOOD = """Page block order: 9
Pages per block:  512

Free pages count per migrate type at order       0      1
Node    0, zone      DMA, type    Unmovable      5 >100000

Number of blocks type     Unmovable
Node 0, zone      DMA            1
"""


def test_a_page_is_read() -> None:
    (page,) = parse_pagetypeinfo(GOOD, "f")
    assert (page.page_block_order, page.pages_per_block, page.orders) == (9, 512, (0, 1))
    assert page.free[0].nr_free_blocks == (5, 100000)
    assert page.free[0].over == (False, True)
    assert page.blocks[0].nr_blocks == (1,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Page block order: x", "line 1, column 19: 'x'; expected a number"),
        ("Page block order: 9\n", "ends after line 1; expected 'Pages per block: …'"),
        ("Page\n", "line 1, column 1: 'Page'; expected 'Page block order:'"),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_pagetypeinfo(text, "f")
    assert str(caught.value).startswith(f"f: {message}")


def test_a_type_without_its_number_is_refused() -> None:
    with pytest.raises(InputError, match=r"^f: line 8, .* expected 1 numbers, one a type, got 2"):
        parse_pagetypeinfo(GOOD.replace("           1\n", "           1 2\n"), "f")
