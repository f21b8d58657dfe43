"""The answer to "who owns this address?": a sentence, and facts beneath it."""

from __future__ import annotations

from dataclasses import dataclass, field

from tui.debugger.table import Cell, Column, Table


@dataclass(slots=True)
class Owner:
    """What holds an address; chunk, cpu and offset say where in per-CPU memory that is, if so."""

    address: int
    kind: str
    summary: str
    facts: list[tuple[str, Cell]] = field(default_factory=list)
    chunk: int | None = None
    cpu: int | None = None
    offset: int | None = None

    def to_table(self) -> Table:
        """Return the facts as a listing under the sentence."""
        rows = (("kind", self.kind), *self.facts)
        columns = (Column("fact"), Column("value"))
        return Table(f"{self.address:#x} is {self.summary}", columns, rows)
