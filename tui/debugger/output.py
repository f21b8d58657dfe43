"""What a command answers: lines for people, a table for programs and panes, or both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tui.debugger.table import Table


@dataclass(frozen=True, slots=True)
class Output:
    """lines: how the answer reads, if not as its table does. ok: False when a fault was found."""

    lines: tuple[str, ...] = ()
    table: Table | None = None
    ok: bool = True

    def with_said(self, said: Sequence[str]) -> Output:
        """Return the answer with more to be said beneath it."""
        if not said:
            return self
        table, lines = self.table, self.lines
        if table is not None:
            table = replace(table, notes=(*table.notes, *said))
        if lines or table is None:
            lines = (*lines, *said)
        return replace(self, lines=lines, table=table)

    def to_json(self) -> dict[str, object]:
        """Return the answer as builtin types: the table if there is one, else the lines."""
        body: dict[str, object] = {"lines": list(self.lines)}
        if self.table is not None:
            body = self.table.to_json()
        return body | {"ok": self.ok}
