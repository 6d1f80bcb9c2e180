"""Runs on speech: utterances, the loop of pictures on them, every objective, going on after a stop, evaluation, refusals."""

import json
import pickle
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest

from dynlab import evaluate, explain, export, heads, methods, pretrain
from dynlab.images import layers
from dynlab.images.comparison import all_methods, measured_runs
from dynlab.images.recipes.recipe_files import Recipe
from dynlab.images.settings import LOSSES, pretraining
from dynlab.sounds import speech_worth
from dynlab.sounds.log_mel import log_mel_of_many
from dynlab.sounds.segments import SEGMENT_VIEWS, ViewMaker
from dynlab.sounds.speech_comparison import ON_SPEECH, gate_on_speech
from dynlab.sounds.speech_networks import embeddings_of
from dynlab.sounds.speech_set import joined_rows, load_speech
from dynlab.sounds.speech_worth import curve_points, some_of_training
from dynlab.sounds.verification import equal_error_rate, error_rates, mean_and_deviation, trials_of
from dynlab.tools.checks import SettingError
from dynlab.tools.files import FolderError
from tests.sounds import naive_sounds as naive
from tests.sounds.small_speech import SMALL, SPEAKERS

WORDS = ["--dataset", "speech", "--held-out", "index=0-1", "--joined", "0.5", "--batch", "6", "--projector", "16,8"]


def test_utterances_are_joined_recordings_of_one_speaker(speech):
    data = load_speech(pretraining(**SMALL), speech)
    inside = data.recordings
    assert (len(inside), len(data.test), len(data), data.files) == (24, 12, 12, 36)
    groups = joined_rows(inside, 0.5)
    assert sorted(i for group in groups for i in group) == list(range(24))
    for i, group in enumerate(groups):
        assert {inside.fields[row]["speaker"] for row in group} == {data.speakers[i]}
        whole = np.concatenate([inside.one(row) for row in group])
        assert whole.tobytes() == data.samples[data.bounds[i] : data.bounds[i + 1]].tobytes() and len(whole) >= 4000
    rests = joined_rows(
        inside, 0.8
    )  # eight recordings of each speaker, three to an utterance: the last two go to the second
    assert sorted(map(len, rests)) == [3, 3, 3, 5, 5, 5] and sorted(i for group in rests for i in group) == list(range(24))
    assert len(joined_rows(inside, 0.0)) == 24 and len(joined_rows(inside, 1e6)) == 3
    assert not set(inside.names) & set(data.test.names) and set(data.test.of("index")) == {"0", "1"}
    features, bounds = data.features(inside)
    assert features.mean(axis=0) == pytest.approx(np.zeros(40), abs=1e-4) and bounds[-1] == len(features)
    assert features.std(axis=0) == pytest.approx(np.ones(40), abs=1e-4)
    assert data.content() != data.content(6) and len(some_of_training(data)) == 24
    assert "12 utterances of 0.6 s from 24 recordings of 3 speakers; 12 recordings" in data.notes[0]


@pytest.mark.parametrize("loss", LOSSES)
def test_every_objective_trains_on_speech(speech, loss):
    settings = pretraining(**SMALL | {"loss": loss, "steps": 3})
    data = load_speech(settings, speech)
    trainer = data.trainer(settings, data, layers)
    before = trainer.weights()
    for step in range(3):
        trainer.step(step)
        if step == 0:  # rows are two views of the utterances whose turn it is
            make = ViewMaker(data.samples, data.bounds, SEGMENT_VIEWS["speech"], data.tables, data.moments)
            for view in (0, 1):
                shown = make.fill(trainer.order[:6], 0, 0, view, np.empty((6, 48, 40), "f4"))
                assert trainer.x[6 * view : 6 * view + 6].tobytes() == shown.tobytes()
    found = trainer.measure(2)
    assert np.isfinite([found["loss"], found["rank"], found["correlation"]]).all()
    assert all(
        (value != before[name]).any()
        for name, value in trainer.weights().items()
        if name.endswith("_parameters") and value.size and "head" not in name
    )


def test_a_stopped_run_goes_on_and_ends_with_the_same_bytes(speech, tmp_path, capsys):
    words = [*WORDS, "--steps", "6", "--record", "2", "--every", "2", "--data", str(speech), "--no-plots", "--threads", "1"]
    words += ["--tensorboard"] if find_spec("tensorboardX") else []
    assert pretrain.main([*words, "--out", str(tmp_path / "whole")]) == 0
    assert "held out (index=0-1)" in capsys.readouterr().err
    assert pretrain.main([*words, "--out", str(tmp_path / "part"), "--quiet"]) == 0
    for name in ("weights.npz", "metrics.csv"):  # as if it had been stopped at its last checkpoint
        (tmp_path / "part" / name).unlink()
    record = json.loads((tmp_path / "part/run.json").read_text())
    (tmp_path / "part/run.json").write_text(json.dumps(record | {"status": "running"}))
    assert pretrain.main(["--resume", "--out", str(tmp_path / "part"), "--quiet", "--no-plots"]) == 0
    for name in ("weights.npz", "metrics.csv", "epochs.jsonl"):
        assert (tmp_path / "part" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert len((tmp_path / "part" / "epochs.jsonl").read_text().splitlines()) == 3  # of two steps each
    assert len(list((tmp_path / "part").glob("*tfevents*"))) == words.count("--tensorboard")
    assert record["settings"]["held_out"] == "index=0-1" and record["pictures"] == 12


def test_evaluation_is_of_whole_recordings_and_their_trials(speech, tmp_path, capsys):
    run = tmp_path / "run"
    found = pretrain.pretrain(
        data=speech, out=run, quiet=True, plots=False, threads=1, steps=30, record=10, **SMALL | {"knn_every": 15}
    )
    assert found.status == "finished" and found.metrics["knn"].notna().any()
    assert evaluate.main([str(run), "--threads", "1"]) == 0
    said = capsys.readouterr().out
    record = json.loads((run / "evaluate.json").read_text())
    rows = {row["representation"]: row for row in record["rows"]}
    # 12 recordings: 66 pairs, less 2 * 15 of one digit; of one speaker 3 * 4.
    assert (rows["encoder"]["cosine"]["targets"], rows["encoder"]["cosine"]["others"]) == (12, 24)
    # By loops: cosines of the embeddings of all pairs of two digits, less the mean of the training part's.
    data = load_speech(found.settings, speech)
    inside, outside = (
        embeddings_of(found.settings, found.weights(), *data.features(part), layers)[0].astype(float)
        for part in (data.recordings, data.test)
    )
    for kind, rest in (("cosine", outside), ("centred", outside - inside.mean(axis=0))):
        scores, target = [], []
        for i, one in enumerate(data.test.fields):
            for j, other in enumerate(data.test.fields[:i]):
                if one["label"] != other["label"]:
                    scores.append(float(rest[i] @ rest[j] / np.sqrt((rest[i] @ rest[i]) * (rest[j] @ rest[j]))))
                    target.append(one["speaker"] == other["speaker"])
        assert rows["encoder"][kind]["eer"] == pytest.approx(naive.equal_error_rate(scores, target), abs=1e-9)
        assert rows["encoder"][kind]["min_dcf"] == pytest.approx(naive.least_cost(scores, target, 0.05), abs=1e-9)
    assert "3 speakers are too few" in said and f"{rows['z']['cosine']['eer']:.3f}" in said
    curves = pd.read_csv(run / "det.csv")
    assert list(curves.columns) == ["representation", "false_alarms", "misses"] and (run / "det.png").is_file()
    trials = tmp_path / "trials.txt"
    trials.write_text("1 0_ann_0.wav 1_ann_1.wav\n0 0_ann_0.wav 1_bob_0.wav\n")
    assert evaluate.main([str(run), "--trials", str(trials), "--of", "log-mels,z", "--quiet"]) == 0
    record = json.loads((run / "evaluate.json").read_text())
    assert [row["representation"] for row in record["rows"]] == ["z", "log-mels"]
    assert record["rows"][0]["cosine"]["rule"] == "trials of trials.txt"
    assert explain.main([str(run)]) == 0 and "pretraining on speech" in capsys.readouterr().out


def test_probes_and_neighbours_tell_speakers_and_digits(speech):
    settings = pretraining(**SMALL)
    data = load_speech(settings, speech)
    rows = {row["representation"]: row for row in speech_worth.appraise_speech(
        settings, {}, data, trials_of(data.test), ("log-mels", "random encoder"), layers)}  # fmt: skip
    row = rows["log-mels"]
    assert row["speaker_probe"].share == row["speaker_knn"].share == row["label_probe"].share == 1.0
    assert "of 24 training recordings" in row["label_knn"].protocol and "12 recordings" in row["speaker_probe"].protocol
    inside, outside = (
        mean_and_deviation(*log_mel_of_many(part.samples, part.bounds, data.tables)) for part in (data.recordings, data.test)
    )
    right = 0
    for one, field in zip(outside, data.test.fields, strict=True):  # all 20 nearest vote, weighed, by hand
        near = [float(a @ one / np.sqrt((a @ a) * (one @ one))) for a in inside]
        votes = {}
        for place in sorted(range(24), key=lambda i: -near[i])[: speech_worth.NEIGHBOURS]:
            label = data.recordings.fields[place]["label"]
            votes[label] = votes.get(label, 0.0) + np.exp(near[place] / 0.1)
        right += max(votes, key=votes.get) == field["label"]
    assert row["label_knn"].correct == right and rows["random encoder"]["label_probe"].total == 12
    told = speech_worth.told_apart
    ann = data.test.some([i for i, one in enumerate(data.test.fields) if one["speaker"] == "ann"])
    other = data.recordings.some([i for i, one in enumerate(data.recordings.fields) if one["speaker"] != "ann"])
    found = told(np.eye(16, 4), other, np.ones((4, 4)), ann)  # nobody who was heard, but digits that were
    assert found["speaker_probe"] is None and found["speaker_knn"] is None and found["label_probe"].total == 4
    found = told(np.eye(4), ann, np.ones((12, 4)), data.test)
    assert found["speaker_knn"] is None and found["label_knn"].total == 12


def test_local_views_are_shorter_segments(speech):
    settings = pretraining(**SMALL | {"loss": "dino", "local_views": 2, "steps": 2})
    data = load_speech(settings, speech)
    trainer = data.trainer(settings, data, layers)
    before = trainer.weights()["encoder_parameters"]
    trainer.step(0)
    assert trainer.local_x.shape == (12, 24, 40)
    short = replace(SEGMENT_VIEWS["speech"], frames=24)
    make = ViewMaker(data.samples, data.bounds, short, data.tables, data.moments)
    for view in (2, 3):
        shown = make.fill(trainer.order[:6], 0, 0, view, np.empty((6, 24, 40), "f4"))
        assert trainer.local_x[6 * view - 12 : 6 * view - 6].tobytes() == shown.tobytes()
    found = trainer.measure(0)
    assert np.isfinite([found["loss"], found["rank"]]).all() and (trainer.weights()["encoder_parameters"] != before).any()


def test_what_is_taken_off_is_the_mean_of_the_training_part(speech, monkeypatch):
    data = load_speech(pretraining(**SMALL), speech)
    seen = []
    monkeypatch.setattr(speech_worth, "verify", lambda rows, trials, centre=None: seen.append((rows, centre)))
    speech_worth.appraise_speech(pretraining(**SMALL), {}, data, trials_of(data.test), ("log-mels",), layers)
    inside, outside = (
        mean_and_deviation(*log_mel_of_many(part.samples, part.bounds, data.tables)) for part in (data.recordings, data.test)
    )
    (rows, nothing), (_, centre) = seen
    assert nothing is None and (rows == outside).all() and centre == pytest.approx(inside.mean(axis=0))


def test_thinned_curves_keep_the_equal_error_rate():
    rng = np.random.default_rng(0)
    scores, target = rng.normal(size=4000) + 1.5 * (np.arange(4000) < 1000), np.arange(4000) < 1000
    alarms, misses = error_rates(scores, target)
    kept = curve_points(alarms, misses)
    assert 100 < len(kept) <= 402 and kept[0] == 0 and kept[-1] == len(alarms) - 1
    gap = misses[kept] - alarms[kept]
    assert misses[kept][np.argmax(gap >= 0)] == pytest.approx(equal_error_rate(scores, target), abs=0.01)


def test_what_speech_refuses(speech, tmp_path, capsys):
    for given, said in (
        ({"encoder": "resnet18"}, "encoder='resnet18'"), ({"augmentation": "demo"}, "augmentation='demo'"),
        ({"rate": 44100}, "rate=44100"), ({"bands": 3}, "bands=3"), ({"joined": -1.0}, "joined=-1.0"),
        ({"pattern": 3}, "pattern=3"), ({"side": 32}, "side=32"),
    ):  # fmt: skip
        with pytest.raises(SettingError, match=said):
            pretraining(**SMALL | given)
    with pytest.raises(SettingError, match='pattern=.*: must be None without dataset "speech"'):
        pretraining(pattern="{speaker}")
    with pytest.raises(SettingError, match="encoder='tdnn'"):
        pretraining(encoder="tdnn")
    data = load_speech(pretraining(**SMALL), speech)
    with pytest.raises(SettingError, match="device='cuda'"):
        data.trainer(pretraining(**SMALL), data, object())
    for words, said in (
        ([*WORDS, "--data", str(speech), "--batch", "999", "--out", str(tmp_path / "x")], "--batch 999"),
        ([*WORDS, "--data", str(tmp_path / "none"), "--out", str(tmp_path / "x")], "no such folder"),
        ([*WORDS, "--data", str(speech), "--download", "--out", str(tmp_path / "x")], "download"),
        ([*WORDS, "--data", str(speech), "--held-out", "accent=x", "--out", str(tmp_path / "x")], "index, label, speaker"),
    ):  # fmt: skip
        assert pretrain.main(words) == (1 if "none" in words[-3] else 2)
        assert said in capsys.readouterr().err
    assert heads.main(["--recipe", "demo", "--dataset", "speech", "--quiet"]) == 2 and "pictures" in capsys.readouterr().err
    with pytest.raises(FolderError, match="is a run on speech"):
        export.tensors_of_run(pretraining(**SMALL), {}, ("encoder",), tmp_path)
    assert len(SPEAKERS) == 3


def test_methods_are_compared_on_speech(speech, tmp_path, capsys):
    place = tmp_path / "methods"
    words = ["--dataset", "speech", "--data", str(speech), "--methods", "none,vicreg", "--seeds", "1", "--out", str(place)]
    few = ["--steps", "3", "--batch", "6", "--held-out", "index=0-1", "--joined", "0.5", "--threads", "1"]
    assert methods.main([*words, *few]) == 0
    said = capsys.readouterr().out
    assert "gates are of the recipes as they are, and not judged with other batch, held_out, joined, steps" in said
    runs = pd.read_csv(place / "runs.csv")
    assert set(runs["method"]) == {"no head", "VICReg", "random encoder"} and (place / "methods.png").is_file()
    one = json.loads((place / "vicreg-seed0" / "evaluate.json").read_text())["rows"][0]
    row = runs[(runs["method"] == "VICReg") & (runs["representation"] == "encoder")].iloc[0]
    assert row["eer"] == one["cosine"]["eer"] and row["label_probe"] == one["label_probe"]["accuracy"]
    assert row["probe"] == one["speaker_probe"]["accuracy"] and f"{row['eer']:.3f}" in said
    made = json.loads((place / "vicreg-seed0" / "run.json").read_text())["settings"]
    assert (made["encoder"], made["loss"], made["lr"], made["augmentation"]) == ("tdnn", "vicreg", 0.003, "speech")
    assert methods.main([*words, *few, "--quiet", "--no-plots"]) == 0  # nothing is made again
    settings = methods.check(methods.parser().parse_args([*words, *few]))  # what a worker does, who reads for himself
    entry, conditions = next(all_methods.method_entries(settings)), all_methods.conditions_of(settings)
    content = conditions.other.load(entry.settings, conditions.data)[0].content(None)
    told = measured_runs.job(pickle.loads(pickle.dumps(conditions)), entry, content, measured_runs._sources(ON_SPEECH))
    assert told.rows[0]["cosine"]["eer"] == runs.iloc[0]["eer"]
    assert methods.main([*words, "--download"]) == 2 and "download" in capsys.readouterr().err


def test_gates_on_speech():
    recipe, plain = Recipe("a", least_gain=0.1), Recipe("b", most_gain=0.0)
    by = pd.DataFrame({"method": ["a", "random"], "representation": "encoder", "eer": [0.2, 0.3]})
    by = by.set_index(["method", "representation"])

    def seen(method, *verdicts):
        return pd.DataFrame([{"method": method, "seed": i, "verdict": verdict} for i, verdict in enumerate(verdicts)])

    assert gate_on_speech(recipe, "a", "random", by, seen("a", "healthy", "unclear"))[0]
    assert gate_on_speech(recipe, "a", "random", by, seen("a", "healthy", "collapsed")) == (False, "seed 1 collapsed")
    assert not gate_on_speech(recipe, "a", "random", by.assign(eer=[0.3, 0.3]), seen("a", "healthy"))[0]
    assert gate_on_speech(plain, "b", "random", by, seen("b", "collapsed", "collapsed"))[0]
    assert gate_on_speech(plain, "b", "random", by, seen("b", "collapsed", "healthy")) == (
        False,
        "must collapse: seed 1 healthy",
    )


def test_folders_of_other_shapes_and_rates(speech, tmp_path):
    """SPEAKER/DIGIT-TAKE.wav at 16 kHz with 80 bands: every fifth recording of each speaker is held out."""
    for path in speech.glob("*.wav"):
        digit, speaker, take = path.stem.split("_")
        (tmp_path / "other" / speaker).mkdir(parents=True, exist_ok=True)
        (tmp_path / "other" / speaker / f"{digit}-{take}.wav").write_bytes(path.read_bytes())
    more = {"pattern": "{speaker}/{label}-{take}", "rate": 16000, "bands": 80, "held_out": None, "steps": 1}
    settings = pretraining(**SMALL | more)
    data = load_speech(settings, tmp_path / "other")
    assert (data.held_out, len(data.test), data.recordings.rate, data.features(data.test)[0].shape[1]) == (
        "every=5",
        6,
        16000,
        80,
    )
    trainer = data.trainer(settings, data, layers)
    trainer.step(0)
    assert trainer.x.shape == (12, 48, 80) and np.isfinite(trainer.measure(0)["loss"])
