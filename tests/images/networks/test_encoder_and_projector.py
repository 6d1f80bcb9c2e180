"""Encoder and projector as one recipe has them."""

import numpy as np
import pytest

from dynlab.images import layers
from dynlab.images.networks.encoder_and_projector import Networks
from dynlab.images.settings import ENCODERS, SOUND_ENCODERS, Pretraining, pretraining
from dynlab.images.verdict import output_count
from dynlab.sounds.speech_networks import SpeechNetworks
from dynlab.tools.checks import SettingError


def test_simsiams_projector_ends_in_a_batch_norm_without_affine_map():
    """Chen & He (2021): z has mean 0 and variance 1 in each view, by numbers of the batch alone."""
    given = {"encoder": "demo", "projector": (16, 8), "batch": 16}
    networks = {name: Networks(pretraining("simsiam-cifar10", **given, **more), 3, layers) for name, more in
                (("published", {}), ("plain", {"projector_norm": "none"}))}  # fmt: skip
    x = np.random.default_rng(0).normal(size=(32, 32, 32, 3)).astype(np.float32)
    z = networks["published"].forward(x, groups=2)[1]
    for view in (z[:16], z[16:]):
        np.testing.assert_allclose(view.mean(0), 0.0, atol=1e-5)
        np.testing.assert_allclose(view.std(0), 1.0, rtol=2e-2)  # the norm adds 1e-5 to the variance
    shared = 128 * 16 + 2 * 16 + 16 * 8  # two layers, and the norm between them
    assert len(networks["published"].projector.parameters) == shared
    assert len(networks["plain"].projector.parameters) == shared + 8  # a bias
    with pytest.raises(SettingError, match="projector_norm='batch': must be \"none\" without a projector"):
        Pretraining(projector=(), projector_norm="batch")


def test_outputs_without_a_projector_are_counted_for_every_encoder():
    for name in ENCODERS:
        one = Pretraining(encoder=name, projector=())
        assert output_count(one) == Networks(one, 3, layers, side=8).outputs, name
    for name in SOUND_ENCODERS:
        one = Pretraining(dataset="speech", augmentation="speech", encoder=name, projector=())
        assert output_count(one) == SpeechNetworks(one, 48, 40, layers).outputs, name
