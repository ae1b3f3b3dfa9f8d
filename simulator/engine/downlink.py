"""Parameters on their way to the workers: the master's outgoing link, which all share, then each worker's own."""

import numpy as np

from simulator.engine.network import Network
from simulator.parameters import BoolArray, FloatArray


class Downlink:
    """Orders during a run: when each worker has what it needs to begin.

    Each order brings one set of parameters, as large as a gradient. The master sends one after another; a worker's own
    link takes in one after another. What has been given out is sent, also to a worker that is told to drop it.
    """

    def __init__(self, network: Network, n_workers: int) -> None:
        size = network.gradient_bytes
        self._of_egress_s = size / network.egress_bytes_per_s if network.egress_bytes_per_s is not None else 0.0
        self._of_link_s = size / network.downlink_bytes_per_s if network.downlink_bytes_per_s is not None else 0.0
        self._has_s = np.full(n_workers, -np.inf)  # when the last order to each worker has come
        self._free_s = self._begin_s = -np.inf  # the master's link: until when it is busy, and since when
        self._n_orders = 0  # since then, so that each time is one product

    def send(self, worker: int, now_s: float) -> float:
        """Send an order; return when the worker has it. Both in seconds after the start of the open round."""
        leaves_s = now_s
        if self._of_egress_s:
            if now_s > self._free_s:
                self._begin_s, self._n_orders = now_s, 0
            self._n_orders += 1
            leaves_s = self._free_s = self._begin_s + self._n_orders * self._of_egress_s
        has_s = max(leaves_s, float(self._has_s[worker])) + self._of_link_s
        self._has_s[worker] = has_s
        return has_s

    def send_all(self, busy: BoolArray) -> FloatArray:
        """Send the orders of a round at its start, lower workers first; when each has come, 0: there is none."""
        has_s = np.zeros(len(busy))
        for worker in np.flatnonzero(busy).tolist():
            has_s[worker] = self.send(worker, 0.0)
        return has_s

    def close(self, next_s: float, *, goes_on: bool) -> None:
        """End a round; the next one begins at ``next_s``, with links that are empty if lists are dropped."""
        if goes_on:
            self._has_s = self._has_s - next_s
            self._free_s, self._begin_s = self._free_s - next_s, self._begin_s - next_s
        else:
            self._has_s = np.full(len(self._has_s), -np.inf)
            self._free_s = -np.inf
