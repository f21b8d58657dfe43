"""The single lines of the screen: the listings there are, what is under the cursor, the keys that matter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from textual import events
from textual.strip import Strip
from textual.widget import Widget

from tui.keys import KEYS, Key, footer_keys
from tui.messages import TabChosen


class TabLine(Widget):
    """All listings by number; those on the screen stand out."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "tabs--shown",
        "tabs--hidden",
        "tabs--name",
        "tabs--focused",
    }

    def __init__(self) -> None:
        super().__init__(id="tabs")
        self.tabs: list[tuple[str, str]] = []  # number and name
        self.shown: frozenset[str] = frozenset()
        self.focused_name = ""
        self.machine_name = ""

    def show(
        self, tabs: Sequence[tuple[str, str]], shown: frozenset[str], focused: str, machine: str
    ) -> None:
        """Show these tabs, of which some are on the screen and one has the keys."""
        state = (list(tabs), shown, focused, machine)
        if state != (self.tabs, self.shown, self.focused_name, self.machine_name):
            self.tabs, self.shown, self.focused_name, self.machine_name = state
            self.refresh()

    @property
    def _gap(self) -> int:
        """Blanks between tabs: two, or one where all would not fit."""
        names = sum(len(number) + 1 + len(name) for number, name in self.tabs)
        return 2 if names + 2 * len(self.tabs) < self.size.width else 1

    def render_line(self, y: int) -> Strip:
        """Return the line: tabs on the left, the machine's name on the right as far as there is room."""
        hidden = self.get_component_rich_style("tabs--hidden")
        segments = [Segment(" ", hidden)]
        for number, name in self.tabs:
            kind = (
                "focused"
                if name == self.focused_name
                else "shown"
                if name in self.shown
                else "hidden"
            )
            segments.append(
                Segment(f"{number} {name}", self.get_component_rich_style(f"tabs--{kind}"))
            )
            segments.append(Segment(" " * self._gap, hidden))
        used = sum(cell_len(segment.text) for segment in segments)
        room = self.size.width - used - 1
        for cut in ("\n", " (", ", "):  # whole, or less and less of a system's years
            name = self.machine_name.partition(cut)[0]
            if len(name) <= room:
                segments.append(Segment(" " * (room - len(name)), hidden))
                segments.append(Segment(name, self.get_component_rich_style("tabs--name")))
                break
        return Strip(segments).adjust_cell_length(self.size.width, hidden)

    def on_click(self, event: events.Click) -> None:
        """Choose the tab under the mouse."""
        left = 1
        for number, name in self.tabs:
            right = left + len(number) + 1 + len(name)
            if left <= event.x < right:
                self.post_message(TabChosen(name))
            left = right + self._gap


class StatusLine(Widget):
    """What is under the cursor; or, until the next key, what went wrong or was done."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"status--text", "status--error", "status--done"}

    def __init__(self, id: str = "status") -> None:
        super().__init__(id=id)
        self.text = ""
        self.kind = "text"

    def say(self, text: str, kind: str = "text") -> None:
        """Show a text; kind is text, error or done."""
        if (text, kind) != (self.text, self.kind):
            self.text, self.kind = text, kind
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """Return a line of the text, broken between words."""
        style = self.get_component_rich_style(f"status--{self.kind}")
        width = self.size.width
        lines = broken(self.text, max(width - 2, 1), self.size.height)
        text = f" {lines[y]}" if y < len(lines) else ""
        return Strip([Segment(set_cell_size(text, width), style)])


def broken(text: str, width: int, nr_lines: int) -> list[str]:
    """Return the text in at most nr_lines lines; what does not fit ends in an ellipsis."""
    words, lines = text.split(" "), [""]
    for word in words:
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if cell_len(longer) <= width or not lines[-1]:
            lines[-1] = longer
        elif len(lines) < nr_lines:
            lines.append(word)
        else:
            lines[-1] = set_cell_size(longer, width - 1).rstrip() + "…"
            break
    return [
        line if cell_len(line) <= width else set_cell_size(line, width - 1) + "…" for line in lines
    ]


class KeyLine(Widget):
    """The keys that matter most; a click presses them."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"keys--key", "keys--label"}

    def __init__(self, keys: Sequence[Key] = KEYS, where: str = "app") -> None:
        """where: whose actions they are, the app's or the screen's."""
        super().__init__(id="keys")
        self.keys = keys
        self.where = where

    def _fitting(self) -> list[tuple[str, str, str]]:
        """Return the keys that fit; help and quit always do."""
        keys = footer_keys(self.keys)
        last = keys[-2:]
        room = self.size.width - 1 - sum(len(key) + len(label) + 3 for key, label, _ in last)
        found: list[tuple[str, str, str]] = []
        for key, label, action in keys[:-2]:
            room -= len(key) + len(label) + 3
            if room < 0:
                break
            found.append((key, label, action))
        return found + last

    def render_line(self, y: int) -> Strip:
        """Return the line."""
        key_style = self.get_component_rich_style("keys--key")
        label_style = self.get_component_rich_style("keys--label")
        segments = [Segment(" ", label_style)]
        for key, label, _ in self._fitting():
            segments += [Segment(key, key_style), Segment(f" {label}  ", label_style)]
        return Strip(segments).adjust_cell_length(self.size.width, label_style)

    async def on_click(self, event: events.Click) -> None:
        """Do what the key under the mouse does."""
        left = 1
        for key, label, action in self._fitting():
            right = left + len(key) + len(label) + 3
            if left <= event.x < right - 2:
                await self.app.run_action(f"{self.where}.{action}")
            left = right
