"""Reading folders of wav: formats, names, tables, test parts, and files that cannot be used."""

import io
import math
import sys
import types

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import wavfile

from dynlab.images.data.archives import DataError
from dynlab.sounds import recordings
from dynlab.sounds.recordings import Unusable, fields_by_pattern, load_recordings, read_samples, split
from dynlab.tools.checks import SettingError

TONE = 0.5 * np.sin(2 * np.pi * 440 * np.arange(1600) / 8000)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(recordings, "cache_root", lambda: tmp_path / "cache")


def folder(place, names, samples=None):
    for name in names:
        path = place / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        wavfile.write(path, 8000, (32767 * (TONE if samples is None else samples)).astype(np.int16))
    return place / "data"


@pytest.mark.parametrize("kind, step", [("i2", 2**-15), ("i4", 2**-31), ("u1", 2**-7), ("f4", 2**-23), ("f8", 2**-24)])
def test_every_type_of_sample_becomes_the_same_sound(tmp_path, kind, step):
    scale = {"i2": 32767, "i4": 2**31 - 1, "u1": 127, "f4": 1, "f8": 1}[kind]
    values = np.rint(TONE * scale) + (128 if kind == "u1" else 0) if scale > 1 else TONE
    stereo = np.stack([values, values], axis=1).astype(kind)
    for data in (stereo[:, 0], stereo):
        wavfile.write(tmp_path / "x.wav", 8000, data)
        found = read_samples(tmp_path / "x.wav", 8000)
        assert found.dtype == np.float32 and np.abs(found - TONE[: len(found)]).max() <= 2 * max(step, 2**-24)


def test_another_rate_is_resampled(tmp_path):
    for own in (16000, 44100, 6000):
        wavfile.write(tmp_path / "x.wav", own, (0.5 * np.sin(2 * np.pi * 440 * np.arange(own // 4) / own)).astype("f4"))
        found = read_samples(tmp_path / "x.wav", 8000)
        want = 0.5 * np.sin(2 * np.pi * 440 * np.arange(len(found)) / 8000)
        assert abs(len(found) - 2000) <= 80 and np.abs(found - want)[100:1800].max() < 0.01


def test_compressed_files_need_the_extra(tmp_path, monkeypatch):
    """Whatever else is there: what is trained on does not depend on what is installed."""
    monkeypatch.setitem(sys.modules, "soundfile", None)  # as where it is not installed
    place = folder(tmp_path, ["0_ann_0.wav", "0_bob_0.wav"])
    assert len(load_recordings(place)) == 2  # wav needs nothing
    monkeypatch.setattr(recordings, "read_samples", None)  # said before anything is read
    for suffix in ("flac", "ogg", "MP3"):
        (place / f"1_ann_0.{suffix}").write_bytes(b"")
        with pytest.raises(SettingError, match="the extra audio: python -m pip install 'dynlab-ssl\\[audio\\]'") as error:
            load_recordings(place)
        assert "\n" not in str(error.value) and f"1_ann_0.{suffix}" in str(error.value)
        (place / f"1_ann_0.{suffix}").unlink()


def test_what_the_extra_reads_is_a_recording_like_any_other(tmp_path, monkeypatch):
    """Through a module that stands for soundfile: its order of results, its errors, channels and rates."""
    wave = np.stack([TONE, 0.5 * TONE], axis=1)

    def read(path, dtype):
        assert dtype == "float64"
        if not path.stat().st_size:
            raise RuntimeError(f"Error opening {str(path)!r}: Format not recognised.")
        return np.repeat(wave, 2, axis=0), 16000

    monkeypatch.setitem(sys.modules, "soundfile", types.SimpleNamespace(read=read))
    place = folder(tmp_path, ["0_ann_0.wav"])
    (place / "1_ann_0.ogg").write_bytes(b"x")
    (place / "1_bob_0.flac").write_bytes(b"")
    found = load_recordings(place)
    assert found.names == ("0_ann_0.wav", "1_ann_0.ogg") and "Format not recognised" in found.left_out[0]
    assert found.of("label").tolist() == ["0", "1"] and abs(len(found.one(1)) - 1600) <= 80
    assert np.abs(found.one(1)[200:1400]).max() == pytest.approx(0.375, abs=0.02)  # the mean of both channels


def test_compressed_files_hold_the_sound_that_was_written(tmp_path):
    soundfile = pytest.importorskip("soundfile", reason="soundfile is not installed (extra audio)")
    for suffix, close in (("flac", 2**-14), ("ogg", 0.05), ("mp3", 0.05)):
        path = tmp_path / f"x.{suffix}"
        soundfile.write(path, np.concatenate([TONE] * 3), 8000)
        found = read_samples(path, 8000)
        size = min(len(found), 4000)
        lags = [np.abs(found[shift : shift + size - 1000] - TONE[0] - np.resize(TONE, size - 1000)).max()
                for shift in range(0, 400)]  # fmt: skip
        assert min(lags) < close
        path.write_bytes(path.read_bytes()[:20])
        with pytest.raises(Unusable):
            read_samples(path, 8000)


def test_silence_is_trimmed_from_the_ends_alone(tmp_path):
    quiet = np.zeros(400)
    whole = np.concatenate([quiet + 1e-4, TONE, quiet, TONE, quiet])
    wavfile.write(tmp_path / "x.wav", 8000, whole.astype("f4"))
    assert read_samples(tmp_path / "x.wav", 8000).tolist() == whole[400:-400].astype("f4").tolist()


@pytest.mark.parametrize(
    "samples, said",
    [
        (np.zeros(0, np.int16), "empty"), (np.zeros(900, np.int16), "silent"), (np.full(300, 999, np.int16), "too short"),
        (np.full(900, np.nan, np.float32), "not finite"), (np.array([np.inf] * 900, np.float32), "not finite"),
    ],
)  # fmt: skip
def test_files_without_speech_are_named(tmp_path, samples, said):
    wavfile.write(tmp_path / "x.wav", 8000, samples)
    with pytest.raises(Unusable, match=said):
        read_samples(tmp_path / "x.wav", 8000)


BYTES = io.BytesIO()
wavfile.write(BYTES, 8000, (32767 * TONE[:600]).astype(np.int16))


@given(st.integers(0, 1243), st.lists(st.tuples(st.integers(0, 47), st.integers(0, 255)), max_size=4))
def test_damaged_files_are_read_or_named_and_nothing_else(tmp_path_factory, cut, changes):
    data = bytearray(BYTES.getvalue())
    for place, value in changes:
        data[place] = value
    path = tmp_path_factory.mktemp("damaged") / "x.wav"
    path.write_bytes(data[:cut])
    try:
        assert np.isfinite(read_samples(path, 8000)).all()
    except Unusable as error:
        assert "\n" not in str(error)


def test_names_say_who_speaks(tmp_path):
    place = folder(tmp_path, ["sub/3_ann_0.wav", "4_bob_1.wav", "notes.wav"])
    (place / "sub/5_ann_7.wav").write_bytes(b"RIFF")
    found = load_recordings(place)
    assert found.names == ("4_bob_1.wav", "sub/3_ann_0.wav") and found.of("speaker").tolist() == ["bob", "ann"]
    assert found.of("label").tolist() == ["4", "3"] and found.of("accent").tolist() == ["", ""]
    assert [one.split(" (")[0] for one in found.left_out] == ["notes.wav", "sub/5_ann_7.wav"]
    assert "does not fit" in found.left_out[0]
    assert fields_by_pattern("{speaker}/{session}/{index}", "a/b/c/d") == {"speaker": "b", "session": "c", "index": "d"}
    assert fields_by_pattern("{speaker}.{index}", "axb") is None
    for pattern in ("{label}", "{speaker}_{speaker}", ""):
        with pytest.raises(SettingError, match="pattern"):
            load_recordings(place, pattern)
    with pytest.raises(DataError, match="2 others|4 others"):
        load_recordings(place, "{speaker}-{index}")


def test_a_table_says_who_speaks(tmp_path):
    place = folder(tmp_path, ["a.wav", "b.wav", "c.wav"])
    (place / "who.csv").write_text("file,speaker,split\na.wav,ann,train\n./b.wav,bob,test\n")
    found = load_recordings(place, "who.csv")
    assert found.names == ("a.wav", "b.wav") and found.left_out == ("c.wav (is not in the table)",)
    assert [part.tolist() for part in split(found, "split=test")] == [[0], [1]]
    for text, said in (("file,who\na.wav,x\n", "columns file, who"), ("", "none"), ("file,speaker\na.wav\n", "line 2")):
        (place / "who.csv").write_text(text)
        with pytest.raises(DataError, match=said):
            load_recordings(place, "who.csv")


def test_test_parts(tmp_path):
    place = folder(tmp_path, [f"{d}_{s}_{i}.wav" for d in (0, 1) for s in ("ann", "bob") for i in (0, 4, 5, 12)])
    found = load_recordings(place)
    index, speaker = found.of("index"), found.of("speaker")
    train, test = split(found, "index=0-4")
    assert set(index[test]) == {"0", "4"} and set(index[train]) == {"5", "12"} and len(train) + len(test) == 16
    train, test = split(found, "index=0-4+speaker=ann")
    assert set(index[test]) == {"0", "4"} and set(speaker[test]) == {"ann"} and len(test) == 4
    assert set(index[train]) == {"5", "12"} and set(speaker[train]) == {"bob"} and len(train) == 4
    train, test = split(found, "every=4")
    assert len(test) == 4 and sorted(speaker[test]) == ["ann", "ann", "bob", "bob"]
    for held_out, said in (
        ("index", "FIELD=VALUE"), ("accent=x", "conditions on index, label, speaker"), ("speaker=eve", "ann, bob"),
        ("every=1", "above 1"), ("index=0-99", "leave some"), ("index=0-4+index=5-99", "leave some"),
    ):  # fmt: skip
        with pytest.raises(SettingError, match=said):
            split(found, held_out)


def test_what_was_read_is_kept_until_a_file_changes(tmp_path, monkeypatch):
    place = folder(tmp_path, ["0_ann_0.wav", "0_bob_0.wav"])
    first = load_recordings(place)
    monkeypatch.setattr(recordings, "read_samples", None)  # nothing is read again
    assert load_recordings(place).samples.tobytes() == first.samples.tobytes()
    monkeypatch.undo()
    monkeypatch.setattr(recordings, "cache_root", lambda: tmp_path / "cache")
    folder(tmp_path, ["0_ann_0.wav"], TONE[:1200])
    assert len(load_recordings(place).one(0)) == 1200
    for kept in (tmp_path / "cache" / "recordings").iterdir():
        kept.write_bytes(kept.read_bytes()[:100])
    assert len(load_recordings(place).one(0)) == 1200  # a damaged file of the cache is as good as none
    assert math.isclose(len(first.one(1)) / 8000, 0.2, abs_tol=0.02) and first.some([1]).names == ("0_bob_0.wav",)


def test_folders_that_hold_no_speech(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    for name, said in (("none", "no such folder"), ("file", "a file"), ("empty", "mp3 files, found none")):
        with pytest.raises(DataError, match=said):
            load_recordings(tmp_path / name)
    with pytest.raises(SettingError, match="rate=11025"):
        load_recordings(tmp_path / "empty", rate=11025)
