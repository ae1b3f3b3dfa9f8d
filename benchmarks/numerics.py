"""Numerical health of the codes at the size of the paper: worst residual, condition number, decode time.

    python benchmarks/numerics.py

Real vectors through whole runs with random stragglers (`schemes.testing.check_codec`). The first paper measured
290 ms for decoding at n = 256, s = 27. The last column solves the same system by least squares over the responses.
Then the residuals of the cyclic code over many patterns in which as many workers are missing as may be.
"""

from __future__ import annotations

import time

import numpy as np
from threadpoolctl import threadpool_limits

from schemes import (
    ExpanderGradientCoding,
    FastestK,
    FractionalRepetition,
    GradientCoding,
    Multiplexed,
    PartialGradientCoding,
    SelectiveRepeat,
    Uncoded,
)
from schemes.assignment import Cyclic
from schemes.base.codec import Precision, least_squares_weights
from schemes.codes import cyclic_repetition, cyclic_weights
from schemes.testing import check_codec

SCHEMES = {
    "uncoded": Uncoded(256),
    "fastest_k, k = 229": FastestK(256, k=229),
    "GC s = 15": GradientCoding(256, s=15),
    "GC s = 27": GradientCoding(256, s=27),
    "GC-Rep s = 15": FractionalRepetition(256, s=15),
    "SR-SGC (2, 3, 23)": SelectiveRepeat(256, B=2, W=3, lam=23),
    "SR-SGC-Rep (1, 2, 30)": SelectiveRepeat(256, B=1, W=2, lam=30, code="fractional_repetition"),
    "M-SGC (1, 2, 27)": Multiplexed(256, B=1, W=2, lam=27),
    "M-SGC-Rep (1, 2, 31)": Multiplexed(256, B=1, W=2, lam=31, code="fractional_repetition"),
    "partial, delta = 8, l = 1": PartialGradientCoding(256, assignment=Cyclic(8)),
    "partial, delta = 8, l = 2": PartialGradientCoding(256, assignment=Cyclic(8), blocks=2),
    "expander, 8 chunks": ExpanderGradientCoding(256, chunks_per_worker=8),
}
N_PATTERNS = 100_000
PRECISIONS: tuple[Precision, ...] = ("float64", "float32")


def main() -> None:
    print(f"{'n = 256':28}{'messages':10}{'worst residual':>16}{'condition':>12}{'decode':>10}{'lstsq':>10}")
    for name, scheme in SCHEMES.items():
        for precision in PRECISIONS:
            plane = check_codec(scheme, n_jobs=30, precision=precision)
            decode_ms = 1e3 * float(np.median(plane.decode_s))
            plain = f"{least_squares_ms(scheme):7.1f} ms" if isinstance(scheme, GradientCoding) else ""
            residual = f"{plane.worst:.1e}" if plane.worst else "none exact"
            print(f"{name:28}{precision:10}{residual:>16}{plane.condition:12.3g}{decode_ms:7.1f} ms{plain:>10}")

    print()
    for n_workers, s in ((64, 6), (256, 27)):
        share, quantiles = residuals(n_workers, s)
        shown = ", ".join(f"{quantile:.0e}" for quantile in quantiles)
        print(f"GC n = {n_workers}, s = {s}, {N_PATTERNS} patterns: median, 99 %, 99.9 %, worst {shown}; ", end="")
        print(f"above 1e-8: {share:.1g}")


def residuals(n_workers: int, s: int) -> tuple[float, list[float]]:
    """Relative errors of sums of random gradients from n - s responses: share above 1e-8, and quantiles."""
    rng = np.random.default_rng(1)
    gradients = rng.standard_normal((n_workers, 40))
    messages, exact = cyclic_repetition(n_workers, s) @ gradients, gradients.sum(axis=0)
    errors = np.empty(N_PATTERNS)
    for pattern in range(N_PATTERNS):
        weights = cyclic_weights(n_workers, s, rng.permutation(n_workers)[: n_workers - s])
        error = weights.values @ messages - exact
        errors[pattern] = np.linalg.norm(error) / np.linalg.norm(exact)
    return float((errors > 1e-8).mean()), np.quantile(errors, [0.5, 0.99, 0.999, 1.0]).tolist()


def least_squares_ms(scheme: GradientCoding) -> float:
    answered = np.random.default_rng(0).permutation(256)[: 256 - scheme.s]
    began_s = time.perf_counter()
    least_squares_weights(scheme.encoding_matrix(), answered)
    return 1e3 * (time.perf_counter() - began_s)


if __name__ == "__main__":
    with threadpool_limits(limits=1):
        main()
