"""A scheme around another one: what it costs and tolerates is the other's, how it runs is its own."""

from __future__ import annotations

import dataclasses

from schemes.base.scheme import FloatArray, Scheme


@dataclasses.dataclass(frozen=True)
class Around(Scheme):
    """Says of itself what the scheme inside says; a subclass says how a run begins.

    Parameters
    ----------
    n_workers
        As of the scheme.
    scheme
        The one inside.
    """

    n_workers: int
    scheme: Scheme

    @property
    def delay_rounds(self) -> int:
        return self.scheme.delay_rounds

    @property
    def load(self) -> float:
        return self.scheme.load

    @property
    def tolerates(self) -> str:
        return self.scheme.tolerates

    @property
    def hears_late(self) -> bool:
        return self.scheme.hears_late

    @property
    def n_error_blocks(self) -> int:
        return self.scheme.n_error_blocks

    def chunk_loads(self) -> FloatArray:
        return self.scheme.chunk_loads()
