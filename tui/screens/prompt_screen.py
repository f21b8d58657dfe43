"""A question at the foot of the screen: one line to type, a hint, and what is wrong with what was typed."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.events import Key
from textual.screen import ModalScreen
from textual.suggester import Suggester
from textual.widgets import Input, Static

from kernel_sim.errors import KernelSimError

Check = Callable[[str], object]


class PromptScreen(ModalScreen[str | None]):
    """Dismissed with the text, once the check takes it; with None by Esc."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "give_up", show=False),
        Binding("tab", "complete", show=False),
        Binding("up", "recall(-1)", show=False),
        Binding("down", "recall(1)", show=False),
    ]

    def __init__(
        self,
        title: str,
        hint: str,
        check: Check,
        *,
        value: str = "",
        history: list[str] | None = None,
        suggester: Suggester | None = None,
    ) -> None:
        super().__init__()
        self.prompt_title = title
        self.hint = hint
        self.check = check
        self.value = value
        self.history = history if history is not None else []
        self.recalled = len(self.history)
        self.suggester = suggester
        self.typed_ahead = ""

    def compose(self) -> ComposeResult:
        """Lay out the box."""
        box = Vertical(id="prompt")
        box.border_title = self.prompt_title
        with box:
            field = Input(self.value, compact=True, suggester=self.suggester, select_on_focus=True)
            field.cursor_blink = False
            yield field
            yield Static(self.hint, id="prompt-hint", markup=False)

    def on_key(self, event: Key) -> None:
        """Keep what is typed before the field is there to take it: pastes and macros are that fast."""
        if self.focused is None and event.character and event.is_printable:
            self.typed_ahead += event.character
            event.stop()
            event.prevent_default()

    def on_descendant_focus(self) -> None:
        """Give the field what was typed ahead of it."""
        if self.typed_ahead:
            field = self.query_one(Input)
            text, self.typed_ahead = self.typed_ahead, ""
            field.select_on_focus = False
            field.value = text
            field.cursor_position = len(text)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Leave with the text if it is good, else say what is wrong with it."""
        event.stop()
        text = event.value.strip()
        try:
            self.check(text)
        except KernelSimError as problem:
            self._say(str(problem), is_error=True)
            return
        if text and (not self.history or self.history[-1] != text):
            self.history.append(text)
        self.dismiss(text)

    def on_input_changed(self) -> None:
        """What was wrong may be right now."""
        self._say(self.hint, is_error=False)

    def _say(self, text: str, is_error: bool) -> None:
        line = self.query_one("#prompt-hint", Static)
        line.update(text)
        line.set_class(is_error, "-error")

    def action_give_up(self) -> None:
        """Leave without an answer."""
        self.dismiss(None)

    def action_complete(self) -> None:
        """Take what is offered."""
        field = self.query_one(Input)
        field.action_end()
        field.action_cursor_right()

    def action_recall(self, way: int) -> None:
        """Bring back what was typed before."""
        if self.history:
            self.recalled = min(max(self.recalled + way, 0), len(self.history))
            past = self.history[self.recalled] if self.recalled < len(self.history) else ""
            field = self.query_one(Input)
            field.value = past
            field.cursor_position = len(past)
