"""Simulate distributed gradient computation with slow workers.

>>> import simulator
>>> from schemes import FractionalRepetition, Uncoded
>>> from straggler_models import Bernoulli, Constant
>>> scenario = simulator.Scenario(
...     workers=4,
...     jobs=50,
...     stragglers={"usual": Constant(seconds_per_load=4.0), "slow": Bernoulli(p=0.1, slowdown=8.0)},
...     schemes={"uncoded": Uncoded(4), "two copies": FractionalRepetition(4, s=1)},
... )
>>> simulator.run(scenario).runs.set_index("scheme")["decode_failures"].to_dict()
{'uncoded': 0, 'two copies': 0}
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulator.errors import ResultsError, ScenarioError, SimulationError
    from simulator.network import Network
    from simulator.results import Results
    from simulator.scenario import Scenario, load
    from simulator.sweep import run
    from simulator.training import Training

__all__ = [
    "Network",
    "Results",
    "ResultsError",
    "Scenario",
    "ScenarioError",
    "SimulationError",
    "Training",
    "load",
    "run",
]

_HOMES = {
    "Network": "network",
    "Results": "results",
    "ResultsError": "results",
    "Scenario": "scenario",
    "ScenarioError": "document",
    "SimulationError": "waiting",
    "Training": "training",
    "load": "scenario",
    "run": "sweep",
}


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    # imported when used: `stragglersim --help` is to answer at once
    if name in _HOMES:
        return getattr(import_module(f"simulator.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'simulator' has no attribute {name!r}")
