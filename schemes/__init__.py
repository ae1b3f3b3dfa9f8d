"""Schemes: who computes what, and when the responses are enough."""

from schemes.adaptive import Adaptive
from schemes.backup_tasks import BackupTasks
from schemes.base.counting import Allowance, CountingSession, at_most
from schemes.base.linear import ApproximateScheme, LinearScheme, MemorylessSession
from schemes.base.scheme import Scheme, Session
from schemes.base.work import Closing, Outcome, Phase, Task, Work
from schemes.bernoulli_gradient_coding import BernoulliGradientCoding
from schemes.bibd_gradient_coding import BibdGradientCoding
from schemes.bounded_staleness import BoundedStaleness
from schemes.communication_efficient_gradient_coding import CommunicationEfficientGradientCoding
from schemes.dsag import Dsag
from schemes.dynamic_clusters import DynamicClusters
from schemes.expander_gradient_coding import ExpanderGradientCoding
from schemes.fastest_k import FastestK
from schemes.fractional_repetition import FractionalRepetition
from schemes.gradient_coding import GradientCoding
from schemes.heterogeneous_gradient_coding import HeterogeneousGradientCoding
from schemes.ideal import Ideal
from schemes.k_async import KAsync
from schemes.k_batch_async import KBatchAsync
from schemes.k_batch_sync import KBatchSync
from schemes.local_sgd import LocalSgd
from schemes.multiplexed import Multiplexed
from schemes.nested_gradient_coding import NestedGradientCoding
from schemes.partial_gradient_coding import PartialGradientCoding
from schemes.selective_repeat import SelectiveRepeat
from schemes.sparse_graph_gradient_coding import SparseGraphGradientCoding
from schemes.to_do_list import ToDoList
from schemes.uncoded import Uncoded

SCHEMES: dict[str, type[Scheme]] = {  # in the order of a search, which decides between equals
    "uncoded": Uncoded,
    "gradient_coding": GradientCoding,
    "fractional_repetition": FractionalRepetition,
    "selective_repeat": SelectiveRepeat,
    "multiplexed": Multiplexed,
    "heterogeneous_gradient_coding": HeterogeneousGradientCoding,
    "communication_efficient_gradient_coding": CommunicationEfficientGradientCoding,
    "bernoulli_gradient_coding": BernoulliGradientCoding,
    "bibd_gradient_coding": BibdGradientCoding,
    "expander_gradient_coding": ExpanderGradientCoding,
    "sparse_graph_gradient_coding": SparseGraphGradientCoding,
    "fastest_k": FastestK,
    "ideal": Ideal,
    "to_do_list": ToDoList,
    "nested_gradient_coding": NestedGradientCoding,
    "partial_gradient_coding": PartialGradientCoding,
    "backup_tasks": BackupTasks,
    "k_async": KAsync,
    "k_batch_async": KBatchAsync,
    "k_batch_sync": KBatchSync,
    "bounded_staleness": BoundedStaleness,
    "dsag": Dsag,
    "local_sgd": LocalSgd,
    "dynamic_clusters": DynamicClusters,
    "adaptive": Adaptive,
}

__all__ = [
    "SCHEMES",
    "Adaptive",
    "Allowance",
    "ApproximateScheme",
    "BackupTasks",
    "BernoulliGradientCoding",
    "BibdGradientCoding",
    "BoundedStaleness",
    "Closing",
    "CommunicationEfficientGradientCoding",
    "CountingSession",
    "Dsag",
    "DynamicClusters",
    "ExpanderGradientCoding",
    "FastestK",
    "FractionalRepetition",
    "GradientCoding",
    "HeterogeneousGradientCoding",
    "Ideal",
    "KAsync",
    "KBatchAsync",
    "KBatchSync",
    "LinearScheme",
    "LocalSgd",
    "MemorylessSession",
    "Multiplexed",
    "NestedGradientCoding",
    "Outcome",
    "PartialGradientCoding",
    "Phase",
    "Scheme",
    "SelectiveRepeat",
    "Session",
    "SparseGraphGradientCoding",
    "Task",
    "ToDoList",
    "Uncoded",
    "Work",
    "at_most",
]
