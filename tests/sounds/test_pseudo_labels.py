"""Pseudo-labels in rounds: clusters against all partitions, the loss against differences, rounds by the command."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from dynlab import evaluate, pretrain
from dynlab.images import layers
from dynlab.images.settings import pretraining
from dynlab.sounds.pseudo_labels import ClusterTrainer, clusters_of, cross_entropy, k_means, purity
from dynlab.sounds.speech_set import load_speech
from dynlab.tools.checks import SettingError
from tests.sounds.small_speech import SMALL


def squares(rows, found):
    return sum(
        float(((rows[i] - np.mean([rows[j] for j in range(len(rows)) if found[j] == found[i]], axis=0)) ** 2).sum())
        for i in range(len(rows))
    )


def test_clusters_are_the_best_of_all_partitions():
    for seed in range(3):
        rng = np.random.default_rng(seed)
        rows = rng.standard_normal((7, 3))
        unit = rows / np.sqrt((rows**2).sum(axis=1, keepdims=True))
        least = min(squares(unit, found) for found in itertools.product(range(3), repeat=7))
        scaled = rows * rng.uniform(0.1, 10.0, (7, 1))  # of which the length does not count
        found = clusters_of(scaled, 3, seed)
        assert squares(unit, found) == pytest.approx(least, rel=1e-12)
        once, total = k_means(unit, 3, rng)
        assert total == pytest.approx(squares(unit, once), rel=1e-12) and set(once) <= {0, 1, 2}


def test_clusters_of_rows_that_are_alike():
    found, total = k_means(np.ones((5, 2)), 3, np.random.default_rng(0))
    assert total == 0.0 and found.tolist() == [0] * 5
    for clusters in (1, 6):
        with pytest.raises(SettingError, match=f"clusters={clusters}"):
            k_means(np.ones((5, 2)), clusters, np.random.default_rng(0))
    assert purity(np.array([0, 0, 0, 1, 1, 2]), np.array(list("aabbba"))) == pytest.approx(5 / 6)


def test_the_loss_and_its_gradient():
    z, wanted = np.random.default_rng(0).standard_normal((4, 3)), np.array([0, 2, 2, 1])

    def loss(z):
        return -sum(math.log(math.exp(row[c]) / sum(map(math.exp, row))) for row, c in zip(z, wanted, strict=True)) / 4

    value, slope = cross_entropy(z, wanted)
    assert value == pytest.approx(loss(z), rel=1e-12)
    for i, j in itertools.product(range(4), range(3)):
        step = np.zeros((4, 3))
        step[i, j] = 1e-5
        assert slope[i, j] == pytest.approx((loss(z + step) - loss(z - step)) / 2e-5, abs=1e-9)
    assert cross_entropy(z + 1e4, wanted)[0] == pytest.approx(value)


def test_an_encoder_learns_the_classes_it_is_given(speech):
    more = {"loss": "dino", "prototypes": 7, "optimiser": "adam", "lr": 0.001, "augmentation": "segments", "steps": 24}
    settings = pretraining(**SMALL | more)
    data = load_speech(settings, speech)
    classes = np.unique(data.speakers, return_inverse=True)[1]
    trainer = ClusterTrainer(settings, data, layers, classes)
    seen = []
    for step in range(24):
        trainer.step(step)
        seen.append(trainer.loss)
    assert np.median(seen[-10:]) < 0.1 * math.log(3)  # the loss of a guess
    assert (trainer.settings.projector, trainer.settings.seed, trainer.settings.lr) == ((3,), settings.seed, settings.lr)
    with pytest.raises(SettingError, match="classes=3"):
        ClusterTrainer(settings, data, layers, classes[:3])


def test_rounds_by_the_command(speech, tmp_path, capsys):
    run = tmp_path / "run"
    pretrain.pretrain(data=speech, out=run, quiet=True, plots=False, threads=1, steps=10, **SMALL)
    words = [str(run), "--of", "encoder", "--threads", "1", "--rounds", "2", "--clusters", "3"]
    assert evaluate.main(words) == 0
    said = capsys.readouterr().out
    rounds = pd.read_csv(run / "rounds.csv")
    assert rounds["round"].tolist() == [0, 1, 2] and rounds["clusters"].tolist() == [0, 3, 3]
    curves = pd.read_csv(run / "det.csv")
    gap = (curves["misses"] - curves["false_alarms"]).abs()
    assert rounds["eer"][0] == pytest.approx(curves["misses"][gap.idxmin()], abs=gap.min() + 1e-9)  # that of the run itself
    assert 0.3 < rounds["purity"][1] <= 1.0 and f"{rounds['eer'][2]:.3f}" in said
    again = (run / "rounds.csv").read_bytes()
    assert evaluate.main([*words, "--quiet"]) == 0 and (run / "rounds.csv").read_bytes() == again
    with np.load(run / "rounds.npz") as kept:
        assert {"encoder_parameters", "encoder_buffers"} <= set(kept)
    for more, what in ((["--rounds", "0"], "--rounds 0"), (["--clusters", "3"], "--clusters 3"),
                       (["--rounds", "1", "--clusters", "13"], "--clusters 13: must be")):  # fmt: skip
        assert evaluate.main([str(run), "--of", "encoder", *more]) == 2
        line = capsys.readouterr().err
        assert what in line
