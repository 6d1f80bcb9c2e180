"""Features against sums over definitions, worked values, and what must not change them."""

import numba
import numpy as np
import pytest
from numpy.testing import assert_allclose

from dynlab.sounds.log_mel import log_mel, log_mel_of_many, moments_of_bands
from dynlab.sounds.mel import hertz_of_mel, mel_of_hertz, tables_of, triangles
from dynlab.tools.checks import SettingError
from tests.sounds import naive_sounds as naive


@pytest.mark.parametrize("rate, bands, size", [(8000, 40, 256), (8000, 80, 256), (16000, 40, 512), (16000, 80, 512)])
def test_features_are_the_sums_of_their_definition(rate, bands, size):
    tables = tables_of(rate, bands)
    samples = np.random.default_rng(bands).uniform(-1.0, 1.0, rate // 40 + 2 * (rate // 100) + 7).astype(np.float32)
    found = log_mel(samples, tables)
    want = naive.log_mel(samples.astype(float), rate, bands, tables.size)
    assert (tables.size, found.shape, found.dtype) == (size, (3, bands), np.float32)
    assert_allclose(found, want, rtol=0, atol=2e-6)
    if rate == 16000 and bands == 80:
        spectrum = np.abs(np.fft.rfft(samples[:400].astype(float) * np.hanning(400), size)) ** 2
        assert_allclose(found[0], np.log(triangles(rate, bands, size) @ spectrum + 1e-6), atol=2e-6)


def test_worked_values():
    assert mel_of_hertz(1000.0) == pytest.approx(999.9855, abs=5e-4)  # 1000 mel at 1000 Hz, as the scale is meant
    assert mel_of_hertz(700.0) == pytest.approx(2595.0 * 0.30102999566398, abs=1e-9)
    assert hertz_of_mel(mel_of_hertz(3210.0)) == pytest.approx(3210.0)
    tables = tables_of()
    assert (tables.frame, tables.hop, tables.frames(199), tables.frames(200), tables.frames(279), tables.frames(280)) == (
        200, 80, 0, 1, 1, 2
    )  # fmt: skip
    assert tables.samples(2) == 280
    silent = log_mel(np.zeros(200, np.float32), tables)
    assert_allclose(silent, -13.815510557964274, atol=1e-6)  # log 1e-6
    # The power of one sample is the same at all frequencies: its square, times that of the window.
    click = np.zeros(200, np.float32)
    click[50] = 0.5
    weight = np.sin(np.pi * 50 / 199) ** 2
    want = np.log(0.25 * weight**2 * triangles(8000, 40, 256).sum(axis=1) + 1e-6)
    assert_allclose(log_mel(click, tables)[0], want, atol=1e-6)


def test_a_tone_is_loudest_in_its_own_band():
    tables, bands = tables_of(8000, 80), np.arange(80)
    for band in (3, 30, 70):
        hertz = hertz_of_mel(mel_of_hertz(4000.0) * (band + 1) / 81)
        found = log_mel(np.sin(2 * np.pi * hertz * np.arange(400) / 8000).astype(np.float32), tables)
        assert (abs(bands[found.argmax(axis=1)] - band) <= 1).all()


def test_recordings_are_cut_apart_and_threads_change_nothing():
    samples = np.random.default_rng(0).normal(0, 0.1, 3000).astype(np.float32)
    bounds = np.array([0, 900, 1000, 3000])  # the second is too short for a frame
    before = numba.get_num_threads()
    try:
        found = []
        for threads in (1, min(2, before)):
            numba.set_num_threads(threads)
            found.append(log_mel_of_many(samples, bounds, tables_of()))
    finally:
        numba.set_num_threads(before)
    (one, at), (two, _) = found
    assert one.tobytes() == two.tobytes() and at.tolist() == [0, 9, 9, 32]
    assert one[9:].tobytes() == log_mel(samples[1000:], tables_of()).tobytes()
    mean, deviation = moments_of_bands(np.array([[1.0, 5.0], [3.0, 5.0]], np.float32))
    assert (mean.tolist(), deviation.tolist()) == ([2.0, 5.0], [1.0, 1.0])


def test_only_rates_and_bands_that_have_tables():
    for rate, bands, name in ((44100, 40, "rate=44100"), (8000, 41, "bands=41")):
        with pytest.raises(SettingError, match=name):
            tables_of(rate, bands)
