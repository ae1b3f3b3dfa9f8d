"""Numerical health of the codes at the size of the paper: worst residual, condition number, decode time.

    python benchmarks/numerics.py

Real vectors through whole runs with random stragglers (`schemes.testing.check_codec`). The first paper measured
290 ms for decoding at n = 256, s = 27. The last column solves the same system by least squares over the answers.
"""

from __future__ import annotations

import time

import numpy as np
from threadpoolctl import threadpool_limits

from schemes import GradientCoding, LinearScheme, Multiplexed, PartialGradientCoding, SelectiveRepeat
from schemes.assignment import Cyclic
from schemes.codec import Precision
from schemes.linear import least_squares_weights
from schemes.testing import check_codec

SCHEMES = {
    "GC s = 15": GradientCoding(256, s=15),
    "GC s = 27": GradientCoding(256, s=27),
    "SR-SGC (2, 3, 23)": SelectiveRepeat(256, B=2, W=3, lam=23),
    "M-SGC (1, 2, 27)": Multiplexed(256, B=1, W=2, lam=27),
    "partial, delta = 8, l = 1": PartialGradientCoding(256, assignment=Cyclic(8)),
    "partial, delta = 8, l = 2": PartialGradientCoding(256, assignment=Cyclic(8), blocks=2),
}
PRECISIONS: tuple[Precision, ...] = ("float64", "float32")


def main() -> None:
    print(f"{'n = 256':28}{'messages':10}{'worst residual':>16}{'condition':>12}{'decode':>10}{'lstsq':>10}")
    for name, scheme in SCHEMES.items():
        for precision in PRECISIONS:
            plane = check_codec(scheme, n_jobs=30, precision=precision)
            decode_ms = 1e3 * float(np.median(plane.decode_s))
            plain = f"{least_squares_ms(scheme):7.1f} ms" if isinstance(scheme, LinearScheme) else ""
            print(f"{name:28}{precision:10}{plane.worst:16.1e}{plane.condition:12.3g}{decode_ms:7.1f} ms{plain:>10}")


def least_squares_ms(scheme: LinearScheme) -> float:
    answered = np.random.default_rng(0).permutation(256)[: 256 - scheme.allowance().limits[0]].tolist()
    began_s = time.perf_counter()
    least_squares_weights(scheme.encoding_matrix(), answered)
    return 1e3 * (time.perf_counter() - began_s)


if __name__ == "__main__":
    with threadpool_limits(limits=1):
        main()
