"""What a replay found, in words, numbers and JSON."""

from __future__ import annotations

from dataclasses import dataclass, field

from snapshots.logs.ordering import Divergence, Inferred
from snapshots.recording import Origin
from snapshots.timeline import Timeline

SHOWN_MAX = 20


@dataclass(slots=True)
class ReplayReport:
    """One path's result; counts are of what the log or golden file holds."""

    path: str
    kind: str  # 'golden' | 'alloc_info' | 'machine' | 'trace'
    mode: str = "predicted"  # or 'observed'
    nr_operations: int = 0
    nr_compared: int = 0
    divergences: list[Divergence] = field(default_factory=list)
    inferred: list[Inferred] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    timeline: Timeline | None = None

    @property
    def ok(self) -> bool:
        """Whether the machine did all that the real kernel did."""
        return not self.divergences

    @property
    def summary(self) -> str:
        """The last line of a replay."""
        return (
            f"{self.nr_operations} operations, {self.nr_compared} placements compared, "
            f"{len(self.divergences)} divergences"
        )

    def lines(self, why: bool = False) -> list[str]:
        """Return the report for people; with why every inferred choice is told."""
        lines = [f"{self.path}: {self.kind}, {self.mode}"]
        lines += [f"  {note}" for note in self.notes]
        lines += [f"  {name.replace('_', ' ')}: {count}" for name, count in self.counts.items()]
        if self.inferred:
            hint = "" if why else " (--why tells them)"
            lines.append(f"  inferred choices: {len(self.inferred)}{hint}")
        if why:
            lines += [f"    line {row.line_no}: {row.kind}: {row.text}" for row in self.inferred]
        for row in self.divergences[:SHOWN_MAX]:
            lines.append(
                f"  divergence at line {row.line_no}: {row.kind}: expected {row.expected}, got {row.got}"
            )
            if row.around:
                lines.append(f"    {row.around}")
        if len(self.divergences) > SHOWN_MAX:
            lines.append(f"  … and {len(self.divergences) - SHOWN_MAX} more")
        lines.append(self.summary)
        return lines

    def to_json(self) -> dict[str, object]:
        """Return the report as builtin types."""
        return {
            "path": self.path,
            "kind": self.kind,
            "mode": self.mode,
            "operations": self.nr_operations,
            "placements_compared": self.nr_compared,
            "divergences": [row._asdict() for row in self.divergences],
            "inferred": [row._asdict() for row in self.inferred],
            "notes": self.notes,
            "counts": self.counts,
            "ok": self.ok,
        }

    def origin(self) -> Origin:
        """Return what a recording keeps of this."""
        return Origin(
            kind=self.kind,
            source=self.path.replace("\\", "/").rstrip("/").rpartition("/")[2],
            mode=self.mode,
            notes=list(self.notes),
            inferred=[list(row) for row in self.inferred],
            divergences=[list(row) for row in self.divergences],
            counts=dict(self.counts),
        )
