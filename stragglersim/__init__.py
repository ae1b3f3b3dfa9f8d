"""Simulate distributed gradient computation with slow workers.

>>> import stragglersim
>>> from schemes import FractionalRepetition, Uncoded
>>> from straggler_models import Bernoulli, Constant
>>> scenario = stragglersim.Scenario(
...     workers=4,
...     jobs=50,
...     stragglers={"usual": Constant(seconds_per_load=4.0), "slow": Bernoulli(p=0.1, slowdown=8.0)},
...     schemes={"uncoded": Uncoded(4), "two copies": FractionalRepetition(4, s=1)},
... )
>>> stragglersim.run(scenario).runs.set_index("scheme")["decode_failures"].to_dict()
{'uncoded': 0, 'two copies': 0}
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import schemes
    import straggler_models
    from simulator.engine.network import Network
    from simulator.engine.training import Training
    from simulator.errors import ResultsError, ScenarioError, SimulationError, TraceError, UserError, WriteError
    from simulator.execution.sweep import run
    from simulator.results.results import Results
    from simulator.scenario.loading import load
    from simulator.scenario.scenario import Scenario

__all__ = [
    "Network",
    "Results",
    "ResultsError",
    "Scenario",
    "ScenarioError",
    "SimulationError",
    "TraceError",
    "Training",
    "UserError",
    "WriteError",
    "load",
    "run",
    "schemes",
    "straggler_models",
]

_HOMES = {
    "Network": "simulator.engine.network",
    "Results": "simulator.results.results",
    "Scenario": "simulator.scenario.scenario",
    "Training": "simulator.engine.training",
    "load": "simulator.scenario.loading",
    "run": "simulator.execution.sweep",
}


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    # imported when used: `stragglersim --help` is to answer at once
    if name not in __all__:
        raise AttributeError(f"module 'stragglersim' has no attribute {name!r}")
    if name in ("schemes", "straggler_models"):
        return import_module(name)
    return getattr(import_module(_HOMES.get(name, "simulator.errors")), name)
