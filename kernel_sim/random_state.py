"""Random numbers whose whole past and future is two ints, so that a keyframe can hold them.

    state  --- one step: state * MULTIPLIER + increment (64 bits) --->  next state
      |
      +-- xor of its high bits, rotated by its top 5 bits --> 32 bits handed out

The generator is PCG32 (XSH-RR 64/32, M. O'Neill 2014): small, fast enough, and its first numbers
for a given seed are printed in its paper's sample program, which is how the tests know that it is
right.
"""

from __future__ import annotations

from dataclasses import dataclass

MULTIPLIER = 6364136223846793005
WORD_MASK = (1 << 64) - 1
OUTPUT_BITS = 32
OUTPUT_MASK = (1 << OUTPUT_BITS) - 1


@dataclass(slots=True)
class RandomState:
    """A generator; both fields together are all it knows."""

    state: int
    increment: int  # odd; picks one of 2**63 independent streams

    @classmethod
    def from_seed(cls, seed: int, *, stream: int = 0) -> RandomState:
        """Return the generator of a seed; different streams of one seed are independent."""
        generator = cls(0, (stream << 1 | 1) & WORD_MASK)
        generator.next_u32()
        generator.state = (generator.state + seed) & WORD_MASK
        generator.next_u32()
        return generator

    def next_u32(self) -> int:
        """Return the next number, 0 to 2**32 - 1."""
        old = self.state
        self.state = (old * MULTIPLIER + self.increment) & WORD_MASK
        word = ((old >> 18) ^ old) >> 27 & OUTPUT_MASK
        rotation = old >> 59
        return (word >> rotation | word << (OUTPUT_BITS - rotation)) & OUTPUT_MASK

    def below(self, limit: int) -> int:
        """Return a number from 0 to limit - 1, each as likely as any other.

        limit is 1 to 2**32. Numbers that would favour the low results are drawn again, so one
        call may take several steps of the generator.
        """
        if not 1 <= limit <= 1 << OUTPUT_BITS:
            raise ValueError(f"below({limit}): expected a limit from 1 to 2**32")
        surplus = (1 << OUTPUT_BITS) % limit
        while True:
            number = self.next_u32()
            if number >= surplus:
                return number % limit
