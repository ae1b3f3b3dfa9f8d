"""Straggler models: how long work takes, and for whom it takes longer."""

from straggler_models.adversarial import Adversarial
from straggler_models.base import (
    Absence,
    LeavingModel,
    OtherWork,
    SecondsModel,
    SharedModel,
    Speeds,
    StragglerModel,
    WorkerTimes,
)
from straggler_models.bernoulli import Bernoulli
from straggler_models.churn import Churn
from straggler_models.common_shock import CommonShock
from straggler_models.constant import Constant
from straggler_models.fail_slow import FailSlow
from straggler_models.fail_stop import FailStop
from straggler_models.failed_workers import FailedWorkers
from straggler_models.gamma import Gamma
from straggler_models.gilbert_elliott import GilbertElliott
from straggler_models.groups import Groups
from straggler_models.lognormal import Lognormal
from straggler_models.markov_speed import MarkovSpeed, SpeedState
from straggler_models.pareto import Pareto
from straggler_models.partial_slowdown import PartialSlowdown
from straggler_models.per_worker import PerWorker
from straggler_models.prone_workers import ProneWorkers
from straggler_models.queueing import Queueing
from straggler_models.shifted_exponential import ShiftedExponential
from straggler_models.time_of_day import TimeOfDay
from straggler_models.trace import Trace
from straggler_models.weibull import Weibull

STRAGGLER_MODELS: dict[str, type[StragglerModel]] = {
    "adversarial": Adversarial,
    "bernoulli": Bernoulli,
    "churn": Churn,
    "common_shock": CommonShock,
    "constant": Constant,
    "fail_slow": FailSlow,
    "fail_stop": FailStop,
    "failed_workers": FailedWorkers,
    "gamma": Gamma,
    "gilbert_elliott": GilbertElliott,
    "groups": Groups,
    "lognormal": Lognormal,
    "markov_speed": MarkovSpeed,
    "pareto": Pareto,
    "partial_slowdown": PartialSlowdown,
    "per_worker": PerWorker,
    "prone_workers": ProneWorkers,
    "queueing": Queueing,
    "shifted_exponential": ShiftedExponential,
    "time_of_day": TimeOfDay,
    "trace": Trace,
    "weibull": Weibull,
}

__all__ = [
    "STRAGGLER_MODELS",
    "Absence",
    "Adversarial",
    "Bernoulli",
    "Churn",
    "CommonShock",
    "Constant",
    "FailSlow",
    "FailStop",
    "FailedWorkers",
    "Gamma",
    "GilbertElliott",
    "Groups",
    "LeavingModel",
    "Lognormal",
    "MarkovSpeed",
    "OtherWork",
    "Pareto",
    "PartialSlowdown",
    "PerWorker",
    "ProneWorkers",
    "Queueing",
    "SecondsModel",
    "SharedModel",
    "ShiftedExponential",
    "SpeedState",
    "Speeds",
    "StragglerModel",
    "TimeOfDay",
    "Trace",
    "Weibull",
    "WorkerTimes",
]
