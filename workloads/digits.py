"""Two classifiers of handwritten digits, on the data that ship with scikit-learn (extra ``stragglersim[train]``)."""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from pydantic.dataclasses import dataclass

from workloads.base import FloatArray, IntArray, NonNegative, PositiveCount, Rows, Workload

N_CLASSES = 10


class Digits(NamedTuple):
    """1797 images of 8 x 8 pixels."""

    images: FloatArray  # shape (n_rows, 65), from 0 to 1; the last column is 1, for the bias
    labels: IntArray  # shape (n_rows,)


class Scores(NamedTuple):
    """What the layers of a classifier make of some images."""

    hidden: FloatArray  # what the last layer sees, shape (n, width)
    of_class: FloatArray  # shape (10, n): classes come first, sums over them are then sums of long rows


class Forward(NamedTuple):
    """Scores, compared with the truth."""

    hidden: FloatArray  # shape (n, width)
    errors: FloatArray  # likelihoods minus truth, shape (10, n)
    behind: FloatArray  # score of the true class minus the best one, shape (n,)
    total: FloatArray  # of the exponentials of all scores minus the best one, shape (n,)


@functools.lru_cache(maxsize=1)
def digits() -> Digits:
    """The data set.

    Raises
    ------
    ValueError
        If scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ValueError("needs scikit-learn, whose digits it is about (pip install 'stragglersim[train]')") from None
    data = load_digits()
    images: FloatArray = np.column_stack([data.data / 16.0, np.ones(len(data.data))])
    return Digits(images, data.target.astype(np.int64))


class DigitClassifier(Workload):
    """Mean cross-entropy of a classifier of digits, and half the squared norm of its parameters times ``l2``."""

    l2: float

    def __post_init__(self) -> None:
        digits()  # refuses to begin without the data

    @abstractmethod
    def scores(self, parameters: FloatArray, images: FloatArray) -> Scores:
        """Unnormalised logarithms of likelihoods."""

    @abstractmethod
    def backward(
        self, parameters: FloatArray, images: FloatArray, hidden: FloatArray, errors: FloatArray
    ) -> FloatArray:
        """Gradient summed over the images; ``errors`` are likelihoods minus truth, shape ``(10, n)``."""

    @property
    def n_rows(self) -> int:
        return int(digits().labels.size)

    def gradient(self, parameters: FloatArray, rows: Rows) -> FloatArray:
        gradient: FloatArray = self.chunk_gradients(parameters, [slice(None)], rows)[0]
        return gradient

    def chunk_gradients(self, parameters: FloatArray, chunks: Sequence[Rows], rows: Rows) -> FloatArray:
        images = digits().images[rows]
        forward = self._forward(parameters, rows)
        gradients = np.empty((len(chunks), len(parameters)))
        at = 0
        for gradient, chunk in zip(gradients, chunks, strict=True):
            n_rows = _size(chunk, len(images))
            here = slice(at, at + n_rows)
            gradient[:] = self.backward(parameters, images[here], forward.hidden[here], forward.errors[:, here])
            if self.l2:
                gradient += self.l2 * n_rows * parameters
            at += n_rows
        return gradients

    def _forward(self, parameters: FloatArray, rows: Rows = slice(None)) -> Forward:
        if isinstance(rows, slice) and rows == slice(None):
            known: Forward = _forward_all(self, parameters.tobytes())
            return known
        return compare(self.scores(parameters, digits().images[rows]), digits().labels[rows])

    def loss(self, parameters: FloatArray) -> float:
        forward = self._forward(parameters)
        return float((np.log(forward.total) - forward.behind).mean() + self.l2 * (parameters @ parameters) / 2)

    def accuracy(self, parameters: FloatArray) -> float:
        return float(np.count_nonzero(self._forward(parameters).behind == 0) / self.n_rows)


def _size(rows: Rows, of: int) -> int:
    return len(range(*rows.indices(of))) if isinstance(rows, slice) else len(rows)


@functools.lru_cache(maxsize=32)
def _forward_all(classifier: DigitClassifier, parameters: bytes) -> Forward:
    """A pass over all images, kept because loss, accuracy and the next gradient are those of the same parameters."""
    return compare(classifier.scores(np.frombuffer(parameters), digits().images), digits().labels)


def compare(scores: Scores, labels: IntArray) -> Forward:
    """Softmax, and how far it is from the truth.

    Examples
    --------
    >>> compare(Scores(np.zeros((1, 0)), np.log([[3.0], [1.0]])), np.array([1])).errors.round(6)
    array([[ 0.75],
           [-0.75]])
    """
    errors = scores.of_class - scores.of_class.max(axis=0)
    true = labels * len(labels) + np.arange(len(labels))  # places of the true classes
    behind = errors.take(true)
    np.exp(errors, out=errors)
    total = errors.sum(axis=0)
    errors /= total
    errors.ravel()[true] -= 1.0
    return Forward(scores.hidden, errors, behind, total)


@dataclass(frozen=True)
class LogisticRegression(DigitClassifier):
    """Softmax regression on the digits: 650 parameters, convex. It begins near 0.

    Examples
    --------
    >>> model = LogisticRegression()
    >>> round(model.loss(np.zeros(650)), 4)  # log 10
    2.3026
    """

    l2: NonNegative = 0.0
    """weight of half the squared norm of the parameters"""

    def initial(self, rng: np.random.Generator) -> FloatArray:
        return 0.01 * rng.standard_normal(65 * N_CLASSES)

    def scores(self, parameters: FloatArray, images: FloatArray) -> Scores:
        return Scores(images, parameters.reshape(N_CLASSES, 65) @ images.T)

    def backward(
        self, parameters: FloatArray, images: FloatArray, hidden: FloatArray, errors: FloatArray
    ) -> FloatArray:
        gradient: FloatArray = (errors @ images).ravel()
        return gradient


@dataclass(frozen=True)
class TwoLayerNetwork(DigitClassifier):
    """A layer of tanh units, then softmax, on the digits. It begins with small random weights.

    Examples
    --------
    >>> model = TwoLayerNetwork(hidden=16)
    >>> len(model.initial(np.random.default_rng(0)))
    1210
    """

    hidden: PositiveCount = 32
    """units of the hidden layer"""
    l2: NonNegative = 0.0
    """weight of half the squared norm of the parameters"""

    def _layers(self, parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
        first = 65 * self.hidden
        return parameters[:first].reshape(65, self.hidden), parameters[first:].reshape(N_CLASSES, self.hidden + 1)

    def initial(self, rng: np.random.Generator) -> FloatArray:
        first = rng.standard_normal((65, self.hidden)) / np.sqrt(65)
        last = rng.standard_normal((N_CLASSES, self.hidden + 1)) / np.sqrt(self.hidden + 1)
        return np.concatenate([first.ravel(), last.ravel()])

    def scores(self, parameters: FloatArray, images: FloatArray) -> Scores:
        first, last = self._layers(parameters)
        hidden = np.column_stack([np.tanh(images @ first), np.ones(len(images))])
        return Scores(hidden, last @ hidden.T)

    def backward(
        self, parameters: FloatArray, images: FloatArray, hidden: FloatArray, errors: FloatArray
    ) -> FloatArray:
        _, last = self._layers(parameters)
        below = (errors.T @ last[:, :-1]) * (1.0 - hidden[:, :-1] ** 2)
        return np.concatenate([(images.T @ below).ravel(), (errors @ hidden).ravel()])
