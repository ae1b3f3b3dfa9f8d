"""Codecs decode the same from messages that have come as from gradients."""

import numpy as np
import pytest

import examples
from schemes import Adaptive, GradientCoding, Ideal, Multiplexed
from schemes.base.codec import Upload
from schemes.base.linear_codec import LinearCodec
from schemes.testing import check_messages

# whose task it is in an adaptive run, its session knows alone: it is not run on real workers
REAL = [scheme for scheme in examples.SCHEMES if not isinstance(scheme, Adaptive | Ideal)]


@pytest.mark.parametrize("takes_estimate", [False, True], ids=["exact", "estimate"])
@pytest.mark.parametrize("scheme", REAL, ids=repr)
def test_messages_decode_to_what_gradients_decode_to(scheme, takes_estimate):
    if takes_estimate and scheme.needs_enough is not None:
        return
    n = sum(check_messages(scheme, seed=seed, takes_estimate=takes_estimate) for seed in range(3))
    assert n > 0


def test_a_codec_that_names_the_wrong_messages_is_found():
    class Wrong(LinearCodec):
        def combine(self, ended, messages):
            return super().combine(ended, messages[::-1])

    class Scheme(GradientCoding):
        def codec(self, precision, rng):
            return Wrong(self, precision)

    with pytest.raises(AssertionError, match="messages give another gradient"):
        check_messages(Scheme(4, s=1))


def test_shared_work_is_for_no_real_worker():
    with pytest.raises(ValueError, match="must define answers and combine"):
        check_messages(Ideal(3))


def test_an_upload_is_cut_into_blocks():
    upload = Upload((0, 2), np.array([[1.0, 0.0], [2.0, 3.0]]))
    gradients = np.array([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]])
    # the first block of both, twice that of the second, and three times its last number, behind which a zero stands
    assert upload.of(gradients).tolist() == [1 + 20 + 90, 2 + 40 + 0]


def test_every_kind_of_message_is_among_these():
    assert any(isinstance(scheme, Multiplexed) and scheme.is_coded for scheme in REAL)
