"""The help: which keys work here, from the one table of keys, and what the pane shows."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.keys import KEYS, Key, help_groups

KEY_WIDTH = 13
PAGE_WIDTH, PAGE_PERCENT = 84, 96  # at most, of the screen, as in kmemscope.tcss
FRAME_WIDTH = 7  # border, padding and scroll bar


class HelpScreen(ModalScreen[None]):
    """Left with any of the usual keys."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,f1,enter", "leave", show=False),
    ]

    def __init__(self, pane_id: str, about: str, keys: Sequence[Key] = KEYS) -> None:
        super().__init__()
        self.keys = keys
        self.pane_id = pane_id
        self.about = about

    def compose(self) -> ComposeResult:
        """Lay out the page."""
        page = VerticalScroll(id="help")
        page.border_title = "Keys that work here"
        page.border_subtitle = "Esc closes"
        with page:
            yield Static(self._text(), id="help-text")

    def _text(self) -> Text:
        variables = self.app.theme_variables
        accent, dim = variables["accent"], variables["km-dim"]
        text = Text()
        if self.about:
            text.append(f"{self.about}\n\n")
        for group, keys in help_groups(self.pane_id, self.keys):
            if not keys:
                continue
            text.append(f"{group}\n", style=f"bold {variables['primary']}")
            for shown, what in keys:
                text.append(f"  {shown:<{KEY_WIDTH}}", style=accent)
                text.append(f"{self._hanging(what)}\n")
            text.append("\n")
        text.append("Small letters go forward, the same letter large goes back.", style=dim)
        return text

    def _hanging(self, what: str) -> str:
        """Return what a key does, its lines below the first one, not below the key."""
        page = min(self.app.size.width * PAGE_PERCENT // 100, PAGE_WIDTH)
        indent = " " * (2 + KEY_WIDTH)
        lines = wrap(what, max(page - FRAME_WIDTH - len(indent), KEY_WIDTH))
        return f"\n{indent}".join(lines)

    def action_leave(self) -> None:
        """Close the help."""
        self.dismiss(None)
