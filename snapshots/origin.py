"""How a recording came about, in builtin types: shown to who asks, not needed to run it."""

from __future__ import annotations

from dataclasses import dataclass, field

from snapshots.errors import RecordingError


@dataclass(slots=True)
class Origin:
    """Where a run came from, what was guessed for it, and where to open it."""

    kind: str = "session"  # or 'trace', 'golden'
    source: str = ""
    mode: str = ""  # of a trace: 'predicted' or 'observed'
    notes: list[str] = field(default_factory=list)  # why that mode, what was lost
    inferred: list[list[object]] = field(default_factory=list)  # line, kind, distance, text
    divergences: list[list[object]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    opens_at: int = 0  # the step at which to show it first; 0: its beginning

    def to_body(self) -> dict[str, object]:
        """Return it as a record's body."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_body(cls, body: object) -> Origin:
        """Return what to_body() gave; fields of a newer minor version are passed over."""
        if not isinstance(body, dict):
            raise RecordingError("the origin is not a map")
        origin = cls()
        for name in cls.__slots__:
            value = body.get(name, getattr(origin, name))
            if type(value) is not type(getattr(origin, name)):
                raise RecordingError(f"origin: {name} is {value!r}")
            setattr(origin, name, value)
        return origin
