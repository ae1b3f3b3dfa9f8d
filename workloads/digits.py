"""Two classifiers of handwritten digits, on the data that ship with scikit-learn (extra ``stragglersim[train]``)."""

import functools
import itertools
from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from simulator.parameters import BoolArray, FloatArray, IntArray, NonNegative
from workloads.base import Measured, Rows, Workload

N_CLASSES = 10


class Digits(NamedTuple):
    """1797 images of 8 x 8 pixels."""

    images: FloatArray  # shape (n_rows, 65), from 0 to 1; the last column is 1, for the bias
    labels: IntArray  # shape (n_rows,)


class Scores(NamedTuple):
    """Output of the layers of some classifiers for some images."""

    hidden: FloatArray  # what the last layer sees, shape (n_models, n, width); 1 model if all see the same
    of_class: FloatArray  # shape (n_models, 10, n): classes before images, sums over them are then sums of long rows


class Forward(NamedTuple):
    """Scores, compared with the truth."""

    hidden: FloatArray  # as of `Scores`
    errors: FloatArray  # likelihoods minus truth, shape (n_models, 10, n)
    behind: FloatArray  # score of the true class minus the best one, shape (n_models, n)
    is_right: BoolArray  # whether the first class with the best score is the true one, shape (n_models, n)
    total: FloatArray  # of the exponentials of all scores minus the best one, shape (n_models, n)


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
        raise ValueError("needs scikit-learn, which has the digits (pip install 'stragglersim[train]')") from None
    data = load_digits()
    return Digits(np.column_stack([data.data / 16.0, np.ones(len(data.data))]), data.target.astype(np.int64))


class DigitClassifier(Workload):
    """Mean cross-entropy of a classifier of digits, and half the squared norm of its parameters times ``l2``."""

    l2: float

    def __post_init__(self) -> None:
        digits()  # refuses to begin without the data

    @abstractmethod
    def scores(self, parameters: FloatArray, images: FloatArray) -> Scores:
        """Unnormalised logarithms of likelihoods; of parameters of shape ``(n_models, dimension)``."""

    @abstractmethod
    def backward(
        self, parameters: FloatArray, images: FloatArray, forward: Forward, ends: Sequence[int], out: FloatArray
    ) -> None:
        """Gradients summed over the images of each chunk.

        Parameters
        ----------
        parameters
            Shape ``(n_models, dimension)``.
        images
            Shape ``(n, 65)``.
        forward
            Of these models and images.
        ends
            Where each chunk's images end, and those of the next one begin.
        out
            Shape ``(n_chunks, n_models, dimension)``.
        """

    @property
    def n_rows(self) -> int:
        return int(digits().labels.size)

    def gradient(self, parameters: FloatArray, rows: Rows) -> FloatArray:
        gradient = np.empty((1, 1, len(parameters)))
        self.chunk_gradients(parameters[np.newaxis], [slice(None)], rows, gradient)
        return np.asarray(gradient[0, 0])

    def chunk_gradients(self, parameters: FloatArray, chunks: Sequence[Rows], rows: Rows, out: FloatArray) -> None:
        images = digits().images[rows]
        n = len(images)
        sizes = [len(range(*chunk.indices(n))) if isinstance(chunk, slice) else len(chunk) for chunk in chunks]
        self.backward(parameters, images, self._forward(parameters, rows), list(itertools.accumulate(sizes)), out)
        if self.l2:
            out += self.l2 * np.multiply.outer(sizes, parameters)

    def _forward(self, parameters: FloatArray, rows: Rows = slice(None)) -> Forward:
        if isinstance(rows, slice) and rows == slice(None):
            return _forward_all(self, parameters.tobytes(), len(parameters))
        return compare(self.scores(parameters, digits().images[rows]), digits().labels[rows])

    def measured(self, parameters: FloatArray) -> Sequence[Measured]:
        forward = self._forward(parameters)
        losses = (np.log(forward.total) - forward.behind).mean(axis=1)
        losses += self.l2 / 2 * np.einsum("md,md->m", parameters, parameters)
        accuracies = np.count_nonzero(forward.is_right, axis=1) / self.n_rows
        return list(map(Measured, losses.tolist(), accuracies.tolist()))

    def loss(self, parameters: FloatArray) -> float:
        return self.measured(parameters[np.newaxis])[0].loss

    def accuracy(self, parameters: FloatArray) -> float:
        return self.measured(parameters[np.newaxis])[0].accuracy


@functools.lru_cache(maxsize=8)
def _forward_all(classifier: DigitClassifier, parameters: bytes, n_models: int) -> Forward:
    """A pass over all images, kept because loss, accuracy and the next gradient are those of the same parameters."""
    return compare(classifier.scores(np.frombuffer(parameters).reshape(n_models, -1), digits().images), digits().labels)


def compare(scores: Scores, labels: IntArray) -> Forward:
    """Softmax, and how far it is from the truth; the scores are not kept.

    Examples
    --------
    >>> compare(Scores(np.zeros((1, 1, 0)), np.log([[[3.0], [1.0]]])), np.array([1])).errors.round(6)
    array([[[ 0.75],
            [-0.75]]])
    """
    errors = scores.of_class
    errors -= errors.max(axis=1, keepdims=True)  # in place: arrays of this size cost more than what is done to them
    n_models, n_classes, n = errors.shape
    first = (n_classes * n * np.arange(n_models)).reshape(n_models, 1)
    true = first + labels * n + np.arange(n)  # places of the true classes
    behind = errors.take(true)
    is_right = behind == 0
    if np.count_nonzero(errors == 0) != is_right.size or not np.isfinite(behind).all():  # ties, or nothing to go by
        is_right &= errors.argmax(axis=1) == labels
    np.exp(errors, out=errors)
    total = errors.sum(axis=1)
    errors /= total[:, np.newaxis]
    errors.reshape(-1)[true] -= 1.0
    return Forward(scores.hidden, errors, behind, is_right, total)


@dataclass(frozen=True)
class LogisticRegression(DigitClassifier):
    """Softmax regression on the digits: 650 parameters, convex. It begins near 0.

    Examples
    --------
    >>> model = LogisticRegression()
    >>> round(model.loss(np.zeros(650)), 4)  # log 10
    2.3026
    """

    models_at_once: ClassVar[int] = 8  # one product for all is faster than one for each

    l2: NonNegative = 0.0
    """weight of half the squared norm of the parameters"""

    @property
    def n_parameters(self) -> int:
        return 65 * N_CLASSES

    def initial(self, rng: np.random.Generator) -> FloatArray:
        return 0.01 * rng.standard_normal(65 * N_CLASSES)

    def scores(self, parameters: FloatArray, images: FloatArray) -> Scores:
        of_class = parameters.reshape(-1, 65) @ images.T
        return Scores(images[np.newaxis], of_class.reshape(len(parameters), N_CLASSES, len(images)))

    def backward(
        self, parameters: FloatArray, images: FloatArray, forward: Forward, ends: Sequence[int], out: FloatArray
    ) -> None:
        errors = forward.errors.reshape(len(parameters) * N_CLASSES, len(images))  # one product for all models
        for gradient, begin, end in zip(out.reshape(len(out), len(errors), 65), [0, *ends], ends, strict=False):
            np.matmul(errors[:, begin:end], images[begin:end], out=gradient)


@dataclass(frozen=True)
class TwoLayerNetwork(DigitClassifier):
    """A layer of tanh units, then softmax, on the digits. It begins with small random weights.

    Examples
    --------
    >>> model = TwoLayerNetwork(hidden=16)
    >>> len(model.initial(np.random.default_rng(0)))
    1210
    """

    hidden: Annotated[int, Field(ge=1, le=10_000)] = 32
    """units of the hidden layer"""
    l2: NonNegative = 0.0
    """weight of half the squared norm of the parameters"""

    @property
    def n_parameters(self) -> int:
        return 65 * self.hidden + N_CLASSES * (self.hidden + 1)

    def _layers(self, parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
        first, last = np.split(parameters, [65 * self.hidden], axis=1)
        return first.reshape(-1, 65, self.hidden), last.reshape(-1, N_CLASSES, self.hidden + 1)

    def initial(self, rng: np.random.Generator) -> FloatArray:
        first = rng.standard_normal((65, self.hidden)) / np.sqrt(65)
        last = rng.standard_normal((N_CLASSES, self.hidden + 1)) / np.sqrt(self.hidden + 1)
        return np.concatenate([first.ravel(), last.ravel()])

    def scores(self, parameters: FloatArray, images: FloatArray) -> Scores:
        first, last = self._layers(parameters)
        hidden = np.ones((len(parameters), len(images), self.hidden + 1))
        np.tanh(images @ first, out=hidden[:, :, :-1])
        return Scores(hidden, last @ hidden.transpose(0, 2, 1))

    def backward(
        self, parameters: FloatArray, images: FloatArray, forward: Forward, ends: Sequence[int], out: FloatArray
    ) -> None:
        _, last = self._layers(parameters)
        below = (forward.errors.transpose(0, 2, 1) @ last[:, :, :-1]) * (1.0 - forward.hidden[:, :, :-1] ** 2)
        for gradient, begin, end in zip(out, [0, *ends], ends, strict=False):
            of_first, of_last = self._layers(gradient)
            of_first[:] = images[begin:end].T @ below[:, begin:end]
            of_last[:] = forward.errors[:, :, begin:end] @ forward.hidden[:, begin:end]
