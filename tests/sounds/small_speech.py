"""Made-up speakers in wav files: a buzz of the speaker's pitch through the speaker's resonance, the digit a second one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.io import wavfile

from dynlab.images.settings import SPEECH

# Settings of a run on them.
SMALL = {"dataset": SPEECH, "held_out": "index=0-1", "joined": 0.5, "batch": 6, "knn_every": 0, "projector": (16, 8)}
SPEAKERS = {"ann": (210.0, 700.0), "bob": (110.0, 1500.0), "cid": (150.0, 2600.0)}


def write_speech(place: Path, digits: int = 2, takes: int = 6, seconds: float = 0.3) -> Path:
    """`digits` x `takes` recordings of each speaker, DIGIT_SPEAKER_INDEX.wav at 8 kHz; the folder."""
    place.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    t = np.arange(round(8000 * seconds)) / 8000
    for speaker, (pitch, resonance) in SPEAKERS.items():
        for digit in range(digits):
            for take in range(takes):
                wave = np.zeros_like(t)
                for k in range(1, int(3900 / pitch)):
                    hertz = k * pitch * rng.uniform(0.98, 1.02)
                    near = sum(np.exp(-(((hertz - f) / 250.0) ** 2)) for f in (resonance, 400.0 + 900.0 * digit))
                    wave += near * np.sin(2 * np.pi * hertz * t + rng.uniform(0, 6.28))
                wave = 0.3 * wave / np.abs(wave).max() + 0.003 * rng.standard_normal(len(t))
                wavfile.write(place / f"{digit}_{speaker}_{take}.wav", 8000, (32767 * wave).astype(np.int16))
    return place
