"""What an input's arguments take in a recording, and whether they can be in one at all."""

from __future__ import annotations

from collections.abc import Iterable

from kernel_sim.errors import ConfigError

INT_MIN, INT_END = -(1 << 63), 1 << 64  # msgpack's


def bytes_of(args: Iterable[object]) -> int:
    """Return how many bytes the texts and files among an input's arguments take, about.

    Raises ConfigError for a number beyond 64 bits and for a text that is no Unicode: no file could hold it.
    """
    nr_bytes = 0
    for each in args:
        kind = each.__class__
        if kind is int:
            if not INT_MIN <= each < INT_END:  # type: ignore[operator]
                raise ConfigError(f"{each!r:.60} has more than 64 bits: expected -2^63 to 2^64-1")
        elif kind is str:
            nr_bytes += len(each)  # type: ignore[arg-type]
            if not each.isascii():  # type: ignore[attr-defined]
                _check_text(str(each))
        elif kind is bytes:
            nr_bytes += len(each)  # type: ignore[arg-type]
    return nr_bytes


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as problem:
        raise ConfigError(
            f"{text!r:.60} holds half of a surrogate pair, which is no text"
        ) from problem
