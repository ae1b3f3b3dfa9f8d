"""Workloads: what is trained, with its data, gradients, loss and accuracy."""

from workloads.base import Rows, Workload
from workloads.digits import LogisticRegression, TwoLayerNetwork
from workloads.least_squares import LeastSquares

WORKLOADS: dict[str, type[Workload]] = {
    "least_squares": LeastSquares,
    "logistic_regression": LogisticRegression,
    "two_layer_network": TwoLayerNetwork,
}

__all__ = ["WORKLOADS", "LeastSquares", "LogisticRegression", "Rows", "TwoLayerNetwork", "Workload"]
