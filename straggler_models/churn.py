"""Workers that leave, and others that join in their place."""

from collections.abc import Iterator
from typing import Annotated

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from straggler_models.base import Absence, LeavingModel

Stay = Annotated[float, Field(gt=0)]  # may be inf: for ever
Wait = Annotated[float, Field(ge=0)]  # may be inf: for ever


@dataclass(frozen=True)
class Churn(LeavingModel):
    """Each worker leaves after an exponential time; after another one, a new worker joins in its place.

    All workers are there at 0 s. The work of a worker that leaves is lost. One that joins is idle until it is
    given work: in the next round, or by a scheme that acts. In the long run a worker is there for a share mean_stay_s /
    (mean_stay_s + mean_away_s) of the time.

    Source: an alternating renewal process, as of the churn of peers in Stutzbach and Rejaie, "Understanding Churn in
    Peer-to-Peer Networks", IMC 2006.

    Examples
    --------
    >>> next(Churn(mean_stay_s=9.0, mean_away_s=1.0, detect_s=0.5).absences_of(np.random.default_rng(1)))._fields
    ('leaves_s', 'joins_s', 'heard_s')
    """

    mean_stay_s: Stay
    """mean time for which a worker stays, in seconds; .inf: it never leaves"""
    mean_away_s: Wait
    """mean time until a new worker joins in its place, in seconds; .inf: none does"""
    detect_s: Wait
    """seconds until the master hears that a worker has left, or until another one joins, if that is earlier"""

    @property
    def may_never_answer(self) -> bool:
        return self.mean_stay_s < np.inf and self.detect_s == self.mean_away_s == np.inf

    @property
    def changes_per_s(self) -> float:
        return 2 / (self.mean_stay_s + self.mean_away_s)

    def absences_of(self, rng: np.random.Generator) -> Iterator[Absence]:
        joins_s = 0.0
        while joins_s < np.inf and self.mean_stay_s < np.inf:
            leaves_s = joins_s + self.mean_stay_s * rng.standard_exponential()
            away = rng.standard_exponential()
            joins_s = leaves_s + self.mean_away_s * away if self.mean_away_s < np.inf else np.inf
            yield Absence(leaves_s, joins_s, min(leaves_s + self.detect_s, joins_s))
