"""Reading /proc/modules."""

from __future__ import annotations

import pytest

from kernel_sim.proc.modules import ModuleRow
from snapshots.errors import InputError
from snapshots.proc.modules import parse_modules


def test_rows_are_read() -> None:
    text = "a 8192 -1 b,[permanent], Unloading 0xffffffffc0000000 (OE+)\nb 1 0 - Live 0x0\n"
    assert parse_modules(text, "f") == (
        ModuleRow("a", 8192, -1, ("b", "[permanent]"), "Unloading", 0xFFFFFFFFC0000000, "OE+"),
        ModuleRow("b", 1, 0, (), "Live", 0, ""),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a x", "line 1, column 3: 'x'; expected a size in bytes"),
        ("a 1 0 b Live 0x0", "line 1, column 6: ' b Live 0x0'; expected '-' or names"),
        ("a 1 0 - live 0x0", "line 1, column 9: 'live 0x0'; expected Live, Loading or Unloading"),
        ("a 1 0 - Live 0xg", "line 1, column 16: 'g'; expected an address"),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_modules(text, "f")
    assert str(caught.value).startswith(f"f: {message}")
