"""(n, s)-GC, the cyclic repetition code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

from pydantic.dataclasses import dataclass

from schemes.base.counting import Allowance, at_most
from schemes.base.linear import LinearScheme
from schemes.base.patterns import any_of
from schemes.codes import Repetition
from simulator.parameters import Count, PositiveCount


@dataclass(frozen=True)
class GradientCoding(Repetition, LinearScheme):
    """Worker i combines chunks i..i+s (mod n) so that any n - s responses give the sum.

    References
    ----------
    Tandon, Lei, Dimakis and Karampatziakis, "Gradient Coding", ICML 2017, section 4.2 and algorithm 2.

    Examples
    --------
    >>> code = GradientCoding(n_workers=5, s=2)
    >>> bool(abs(code.decode([4, 0, 2]) @ code.encoding_matrix()[[4, 0, 2]] - 1).max() < 1e-9)
    True
    """

    code = "gradient_coding"
    label = "GC"

    n_workers: PositiveCount
    s: Count
    """stragglers tolerated per round, whichever they are"""

    def __post_init__(self) -> None:
        if self.s >= self.n_workers:
            raise ValueError(f"s must be between 0 and {self.n_workers - 1}, got {self.s}")

    @classmethod
    def settings(cls, n_workers: int, max_delay: int) -> Iterator[Self]:
        return (cls(n_workers=n_workers, s=s) for s in range(1, n_workers))

    def allowance(self) -> Allowance:
        return at_most(self.s, self.n_workers)

    @property
    def tolerates(self) -> str:
        return f"{any_of(self.s, 'straggler')} in every round"
