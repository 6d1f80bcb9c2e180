"""Views of utterances: where they are cut, what is added to them and in what measure, and on what their bits depend."""

import numba
import numpy as np
import pytest

from dynlab.images.settings import SOUND_VIEWS
from dynlab.sounds.log_mel import log_mel
from dynlab.sounds.mel import tables_of
from dynlab.sounds.segments import SEGMENT_VIEWS, SegmentViews, ViewMaker
from dynlab.tools.checks import SettingError

TABLES = tables_of()
LENGTH = TABLES.samples(12)
MOMENTS = np.linspace(-1.0, 1.0, 40).astype("f4"), np.linspace(1.0, 2.0, 40).astype("f4")


def maker(samples, bounds, **views):
    return ViewMaker(np.asarray(samples, "f4"), np.array(bounds), SegmentViews(frames=12, **views), TABLES, MOMENTS)


def utterances(seed=0, count=5):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(LENGTH // 2, 4 * LENGTH, count)
    return rng.normal(0.0, 0.1, lengths.sum()).astype("f4"), np.concatenate([[0], np.cumsum(lengths)])


def features(make, chosen, seed=3, epoch=1, view=0):
    return make.fill(np.asarray(chosen), seed, epoch, view, np.full((len(chosen), 12, 40), np.nan, "f4"))


def test_a_segment_is_a_piece_of_its_utterance_and_its_features_are_those_of_the_piece():
    samples, bounds = np.arange(3 * LENGTH) / (3 * LENGTH), [0, LENGTH // 2, 3 * LENGTH]
    make = maker(samples, bounds)
    starts = []
    for epoch in range(40):
        waves = make.waves(np.array([0, 1]), 0, epoch, 0)
        at = round(float(waves[1, 0]) * 3 * LENGTH)
        starts.append(at)
        assert waves[1].tolist() == samples[at : at + LENGTH].astype("f4").tolist()
        first = round(float(waves[0, 0]) * 3 * LENGTH)  # shorter than a view: round and round
        assert waves[0].tolist() == [np.float32(samples[(first + i) % (LENGTH // 2)]) for i in range(LENGTH)]
        assert features(make, [1], 0, epoch)[0] == pytest.approx(
            (log_mel(waves[1], TABLES) - MOMENTS[0]) / MOMENTS[1], abs=1e-5
        )
    room = 2 * LENGTH + LENGTH // 2 - LENGTH
    assert len(set(starts)) > 30 and abs(np.mean(starts) - LENGTH // 2 - room / 2) < room / 4
    assert min(starts) >= LENGTH // 2


@pytest.mark.parametrize("ratio", [-10.0, 0.0, 15.0])
def test_noise_has_the_drawn_ratio_to_the_segment(ratio):
    samples, bounds = utterances()
    chosen = np.arange(5)
    for epoch in range(4):
        clean = maker(samples, bounds).waves(chosen, 0, epoch, 1).astype(float)
        noisy = maker(samples, bounds, noise=1.0, snr=(ratio, ratio)).waves(chosen, 0, epoch, 1)
        powers = (clean**2).mean(axis=1), ((noisy - clean) ** 2).mean(axis=1)
        assert 10 * np.log10(powers[0] / powers[1]) == pytest.approx(np.full(5, ratio), abs=1e-2)


def test_pink_noise_has_as_much_power_in_every_octave():
    # Of one utterance, silent but for a click that gives noise its measure: what is no speech of others is pink.
    silent = np.zeros(4 * LENGTH, "f4")
    silent[::50] = 1e-3
    make = maker(silent, [0, 4 * LENGTH], noise=1.0, snr=(-60.0, -60.0))
    spectra = []
    for epoch in range(300):
        wave = make.waves(np.array([0]), 5, epoch, 0)[0].astype(float)
        if (
            len(np.unique(np.abs(wave) > 1e-2 * np.abs(wave).max())) > 1
            and (np.abs(wave) > 1e-3 * np.abs(wave).max()).mean() > 0.9
        ):
            spectra.append(np.abs(np.fft.rfft(wave * np.hanning(LENGTH), 2048)) ** 2)
    assert 60 < len(spectra) < 150  # a third of them
    power = np.mean(spectra, axis=0)
    octaves = [power[(at := 2048 * low // 8000) : 2 * at].sum() for low in (250, 500, 1000, 2000)]
    assert 10 * np.log10(np.array(octaves) / octaves[0]) == pytest.approx(np.zeros(4), abs=1.0)


def test_reverberation_is_a_decaying_echo():
    click = np.zeros(LENGTH, "f4")
    click[0] = 1.0
    sound = np.random.default_rng(1).normal(0, 0.1, LENGTH).astype("f4")
    for epoch in range(3):
        echo = maker(click, [0, LENGTH], reverb=1.0, decay=(0.1, 0.1)).waves(np.array([0]), 0, epoch, 0)[0].astype(float)
        after = np.flatnonzero(echo[1:]) + 1
        assert echo[0] == 1.0 and 15 < len(after) <= 24 and after.max() <= 400
        alone = np.abs(echo[after]) / (0.5 * np.exp(-6.9 * after / 800))
        assert (
            np.isclose(alone, np.rint(alone), atol=1e-5).all()
            and (alone == 1.0).sum() >= 0
            and np.median(alone) == pytest.approx(1)
        )
        heard = maker(sound, [0, LENGTH], reverb=1.0, decay=(0.1, 0.1)).waves(np.array([0]), 0, epoch, 0)[0]
        assert heard == pytest.approx(np.convolve(sound.astype(float), echo)[:LENGTH], abs=1e-5)


def test_gain_and_masks():
    samples, bounds = utterances()
    chosen = np.arange(5)
    plain, loud = (
        make.waves(chosen, 0, 0, 0).astype(float) for make in (maker(samples, bounds), maker(samples, bounds, gain=6.0))
    )
    factors = (loud * plain).sum(axis=1) / (plain**2).sum(axis=1)
    assert loud == pytest.approx(plain * factors[:, None], abs=1e-7)
    assert (np.abs(20 * np.log10(factors)) <= 6.0).all() and len(np.unique(factors)) == 5
    bare, masked = (features(maker(samples, bounds, **more), chosen) for more in ({}, {"time_masks": 1, "band_masks": 1}))
    hidden = masked == 0.0
    assert (masked[~hidden] == bare[~hidden]).all() and hidden.any()
    for one in hidden:
        rows, columns = np.flatnonzero(one.all(axis=1)), np.flatnonzero(one.all(axis=0))
        assert (
            len(rows) <= 6
            and len(columns) <= 6
            and one.sum() == 40 * len(rows) + 12 * len(columns) - len(rows) * len(columns)
        )
        assert all(len(part) == 0 or np.ptp(part) == len(part) - 1 for part in (rows, columns))


def test_bits_depend_on_seed_epoch_utterance_and_view_alone():
    samples, bounds = utterances(7)
    make = ViewMaker(samples, bounds, SEGMENT_VIEWS["speech"], TABLES, MOMENTS)
    shape, before = (5, 48, 40), numba.get_num_threads()
    try:
        found = []
        for threads in (1, min(2, before)):
            numba.set_num_threads(threads)
            found.append(make.fill(np.arange(5), 1, 2, 0, np.empty(shape, "f4")))
    finally:
        numba.set_num_threads(before)
    assert found[0].tobytes() == found[1].tobytes() and np.isfinite(found[0]).all()
    backwards = make.fill(np.arange(5)[::-1], 1, 2, 0, np.empty(shape, "f4"))
    assert backwards[::-1].tobytes() == found[0].tobytes()
    assert make.fill(np.array([3]), 1, 2, 0, np.empty((1, 48, 40), "f4")).tobytes() == found[0][3].tobytes()
    for seed, epoch, view in ((2, 2, 0), (1, 3, 0), (1, 2, 1), (1 + 2**32, 2, 0)):
        assert (make.fill(np.arange(5), seed, epoch, view, np.empty(shape, "f4")) != found[0]).any(axis=(1, 2)).all()


def test_sets_of_views_and_what_they_refuse():
    assert tuple(SEGMENT_VIEWS) == SOUND_VIEWS
    for given in (
        {"frames": 1},
        {"noise": 1.5},
        {"snr": (9.0, 1.0)},
        {"decay": (0.0, 1.0)},
        {"gain": -1.0},
        {"time_masks": 0.5},
    ):
        with pytest.raises(SettingError, match=f"^{next(iter(given))}="):
            SegmentViews(**given)


def test_a_voice_is_the_utterance_at_another_speed_and_alike_in_both_views():
    length = 6 * LENGTH
    tone = np.sin(2 * np.pi * 400 * np.arange(length) / 8000)  # whole periods: round and round without a step
    wave = maker(tone[:8000], [0, 8000], speed=(1.25, 1.25)).waves(np.array([0]), 0, 0, 0)[0].astype(float)
    t = 2 * np.pi * 500 * np.arange(LENGTH) / 8000  # 5/4 of the pitch
    phase = np.linalg.lstsq(np.stack([np.sin(t), np.cos(t)], axis=1), wave, rcond=None)
    assert np.hypot(*phase[0]) == pytest.approx(1.0, abs=0.01) and phase[1][0] / (wave @ wave) < 1e-4
    # On a ramp the cubic is exact: the step from sample to sample is the speed.
    ramp = maker(np.arange(length) / length, [0, length], speed=(0.5, 2.0))
    speeds = []
    for epoch in range(60):
        steps = [np.diff(ramp.waves(np.array([0]), 4, epoch, view)[0].astype(float)) * length for view in (0, 1)]
        middle = [np.median(one) for one in steps]
        assert middle[0] == pytest.approx(middle[1], abs=2e-3)
        speeds.append(middle[0])
    assert min(speeds) >= 0.499 and max(speeds) <= 2.001 and len(set(np.round(speeds, 3))) > 50
    assert np.mean(np.log2(speeds)) == pytest.approx(0.0, abs=4 / np.sqrt(12 * 60))  # uniform in octaves
