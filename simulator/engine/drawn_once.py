"""What straggler models draw once for themselves: members of groups, parameters of workers."""

from collections.abc import Hashable, Mapping

from simulator.engine.streams import ONCE, stream
from straggler_models.base import StragglerModel


def settled(
    models: Mapping[str, StragglerModel], n_workers: int, seed: int, known: dict[Hashable, StragglerModel] | None = None
) -> Mapping[str, StragglerModel]:
    """Models by label, with all drawn that they draw once for themselves, the same in all trials."""
    if not any(model.draws_once for model in models.values()):
        return models
    known, drawn = {} if known is None else known, dict(models)
    for label, model in models.items():
        if model.draws_once:
            key = id(model), seed, label
            if key not in known:
                known[key] = model.settled(n_workers, stream(seed, ONCE, "stragglers", label))
            drawn[label] = known[key]
    return drawn
