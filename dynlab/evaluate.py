"""What a pretrained encoder is worth.

    python -m dynlab.evaluate RUN
    python -m dynlab.evaluate --weights FILE.safetensors --encoder resnet18

measures the frozen features of a run of dynlab.pretrain, or of an encoder that was trained elsewhere, by nearest neighbours
and by a linear probe, beside the same network before training and the raw pixels; prints the table with the protocols and
writes evaluate.json and spectrum.csv to the folder of the run, or to --out. A run on speech is judged by speaker
verification (`dynlab.sounds.verification`), by probes and by neighbours: equal error rates beside accuracies at telling
speakers and what is said, det.csv in place of spectrum.csv.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dynlab.command_line.parser import Parser, number_of, run_command
from dynlab.command_line.pictures import add_computing, add_files, check_folders, fetched, say_how_taken
from dynlab.images.settings import ENCODERS, PATCH_SETTINGS, REPRESENTATIONS, SPEECH, Pretraining
from dynlab.machine.device import Device, chosen
from dynlab.tools import files
from dynlab.tools.checks import SettingError, choice, integer, require, threads
from dynlab.tools.files import expanded
from dynlab.tools.provenance import Call

PROGRAM = "dynlab.evaluate"
SECONDS = 5.0  # between lines that say where it has come to
# Options that a run has its own settings for.
OF_WEIGHTS = ("encoder", "dataset", "augmentation", "side", *PATCH_SETTINGS, "out")
SHOWN = "simsiam-cifar10"  # how pictures are shown to a network of another's: 32 pixels, standardised by CIFAR-10's channels


@dataclass(frozen=True)
class Settings:
    """The settings of the command, checked. pretraining: of the run, or what is known of weights from elsewhere; place: the
    folder of the run, or where results go."""

    pretraining: Pretraining
    weights: Path | None
    place: Path
    data: Path
    download: bool
    which: tuple[str, ...]
    limit: int | None
    trials: Path | None
    verify: bool
    threads: int
    device: Device
    quiet: bool
    rounds: int = 0
    clusters: int = 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    call = parser().call(argv)
    return run_command(call, lambda: run(check(call.arguments), call))


def run(settings: Settings, call: Call) -> None:
    """Load the network and its pictures, measure, write and print."""
    new = settings.weights is not None
    here = files.RunFolder(settings.place, settings.place)
    if settings.pretraining.dataset == SPEECH:
        return _verify_speakers(settings, call)
    with files.run_folder(settings.place) if new else nullcontext(here) as folder:
        _measure(settings, call, folder.partial)


def _measure(settings: Settings, call: Call, place: Path) -> None:
    from dynlab.images.data.own_pictures import picture_side
    from dynlab.images.networks.torch_layout import read_weight_file
    from dynlab.images.ops import ops_of
    from dynlab.images.training import run_folder
    from dynlab.images.verdict import NotFinite
    from dynlab.images.worth import representations
    from dynlab.tools.files import FolderError, json_text, write_csv, write_whole
    from dynlab.tools.progress import now_and_then
    from dynlab.tools.provenance import provenance

    pretraining, foreign = settings.pretraining, settings.weights
    weights = run_folder.read_weights(settings.place) if foreign is None else read_weight_file(foreign)
    ops = ops_of(settings.device, settings.threads)
    fetched(pretraining.dataset, settings.data, settings.download, settings.quiet)
    side = picture_side(pretraining)
    train, test = representations.labelled(pretraining.dataset, settings.data, settings.limit, settings.verify, side=side)
    say_how_taken((train, test), settings.quiet)
    if foreign is not None:
        weights = _taken_over(settings, weights, train.pictures.shape[3], ops)
    said = now_and_then(settings.quiet, SECONDS)
    if settings.device.asked != "cpu" and not settings.quiet:
        print(f"features are computed on {settings.device.words}", file=sys.stderr, flush=True)
    try:
        rows = representations.appraise(pretraining, weights, train, test, which=settings.which, ops=ops, told=said)
    except NotFinite as error:
        raise FolderError(foreign or settings.place, f"the run diverged: {error}") from None
    facts = {
        **call.record(), "dataset": pretraining.dataset, "train": len(train),
        "test": len(test), "device": settings.device.words, "rows": [representations.plain(row) for row in rows],
    }  # fmt: skip
    write_csv(place / "spectrum.csv", representations.spectra(rows))
    write_whole(place / "evaluate.json", json_text(facts | provenance(call.started)))
    if not settings.quiet:
        print("\n".join(representations.text(rows, settings.place)), flush=True)


def _verify_speakers(settings: Settings, call: Call) -> None:
    """The same for a run on speech: equal error rates of its embeddings, and curves."""
    from dynlab.drawing import det_curve
    from dynlab.images.ops import ops_of
    from dynlab.images.training import run_folder
    from dynlab.images.verdict import NotFinite
    from dynlab.sounds import speech_worth, verification
    from dynlab.sounds.speech_set import load_speech
    from dynlab.tools.files import FolderError, json_text, write_csv, write_whole
    from dynlab.tools.progress import now_and_then
    from dynlab.tools.provenance import provenance

    one, place = settings.pretraining, settings.place
    weights = run_folder.read_weights(place)
    data = load_speech(one, settings.data)
    say_how_taken((data,), settings.quiet)
    given = settings.trials
    trials = verification.trials_of(data.test) if given is None else verification.trials_from_file(given, data.test)
    ops, told = ops_of(settings.device, settings.threads), now_and_then(settings.quiet, SECONDS)
    try:
        rows = speech_worth.appraise_speech(one, weights, data, trials, settings.which, ops, told, settings.limit)
    except NotFinite as error:
        raise FolderError(place, f"the run diverged: {error}") from None
    facts = {
        **call.record(), "dataset": one.dataset, "train": len(data), "test": len(data.test), "held_out": data.held_out,
        "device": settings.device.words, "rows": speech_worth.plain_rows(rows),
    }  # fmt: skip
    write_csv(place / "det.csv", speech_worth.det_curves(rows))
    write_whole(place / "evaluate.json", json_text(facts | provenance(call.started)))
    caption = f"Speaker verification by cosines, {len(trials)} trials"
    det_curve.write(place, caption, one.plain())
    if not settings.quiet:
        print("\n".join(speech_worth.speech_text(rows, data, place)), flush=True)
    if settings.rounds:
        _rounds(settings, weights, data, trials, ops, told)


def _rounds(settings: Settings, weights: dict, data: Any, trials: Any, ops: Any, told: Any) -> None:
    """Pseudo-labels in rounds from the run on: rounds.csv, and the weights of the last as rounds.npz."""
    import numpy as np
    import pandas as pd

    from dynlab.images.verdict import NotFinite
    from dynlab.sounds import pseudo_labels
    from dynlab.tools.files import FolderError, whole_file, write_csv

    one, place = settings.pretraining, settings.place
    count = (settings.rounds, settings.clusters)
    try:
        lines, last = pseudo_labels.rounds_of_pseudo_labels(one, weights, data, trials, ops, *count, told)
    except NotFinite as error:
        raise FolderError(place, f"pseudo-labels diverged: {error}") from None
    with whole_file(place / "rounds.npz") as partial, open(partial, "wb") as file:
        np.savez(file, **last)
    write_csv(place / "rounds.csv", pd.DataFrame(lines))
    if not settings.quiet:
        print("\n".join(["", *pseudo_labels.rounds_text(lines), f"files in {place}: rounds.csv, rounds.npz"]), flush=True)


def _taken_over(settings: Settings, tensors: dict, channels: int, ops: Any) -> dict:
    """Weights from elsewhere as a run has them; says what of the file is of no use, and how pictures are shown."""
    from dynlab.images.data.pipelines import pipelines_of
    from dynlab.images.networks.encoder_and_projector import Networks
    from dynlab.images.networks.torch_layout import ForeignWeights, from_torch
    from dynlab.tools.files import FolderError

    one = settings.pretraining
    network = Networks(one, channels, ops).encoder
    try:
        parameters, buffers, left = from_torch(network, one.encoder, tensors)
    except ForeignWeights as error:
        raise FolderError(settings.weights or settings.place, str(error)) from None
    if not settings.quiet:
        shown = pipelines_of(one.augmentation).for_channels(channels).first
        more = f" and {len(left) - 4} more" if len(left) > 4 else ""
        lines = [f"not used: {', '.join(left[:4])}{more}"] if left else []
        lines.append(f"pictures are shown as (x - mean)/deviation, x from 0 to 1, mean {_numbers(shown.mean)}, deviation "
                     f"{_numbers(shown.deviation)} (augmentation {one.augmentation})")  # fmt: skip
        print("\n".join(lines), file=sys.stderr, flush=True)
    return {"encoder_parameters": parameters, "encoder_buffers": buffers}


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:g}" for value in values)


def check(arguments: argparse.Namespace) -> Settings:
    """Turn the words of the command line into settings; SettingError names the first that is not allowed."""
    foreign = None if arguments.weights is None else expanded(arguments.weights)
    pretraining, place, data = _of_run(arguments) if foreign is None else _of_weights(arguments, foreign)
    speech = pretraining.dataset == SPEECH
    if speech:
        require(foreign is None, "weights", arguments.weights, "weights of an encoder of pictures")
    for name in ("trials", "rounds", "clusters"):
        given = getattr(arguments, name)
        require(speech or given is None, name, given, "for a run on speech")
    rounds = 0 if arguments.rounds is None else integer("rounds", number_of(arguments.rounds), at_least=1, at_most=100)
    require(rounds > 0 or arguments.clusters is None, "clusters", arguments.clusters, "left out without --rounds")
    clusters = integer("clusters", 20 if arguments.clusters is None else number_of(arguments.clusters), at_least=2)
    known = [name for name in REPRESENTATIONS if foreign is None or not name.endswith("z")]
    which = tuple(dict.fromkeys(word.strip() for word in (arguments.of or ",".join(known)).split(",")))
    if speech:
        from dynlab.sounds.speech_worth import speech_representations

        which = speech_representations(arguments.of)
    elif not set(which) <= set(known):
        raise SettingError("of", arguments.of, f"some of {', '.join(known)}, with commas")
    check_folders(arguments, "data")
    limit = number_of(arguments.limit)
    return Settings(
        pretraining=pretraining,
        weights=foreign,
        place=place,
        data=expanded(data if arguments.data is None else arguments.data),
        which=which,
        limit=None if limit is None else integer("limit", limit, at_least=100),
        trials=None if arguments.trials is None else expanded(arguments.trials),
        download=arguments.download,
        verify=not arguments.no_verify,
        threads=threads(number_of(arguments.threads)),
        device=chosen(arguments.device),
        quiet=arguments.quiet,
        rounds=rounds,
        clusters=clusters,
    )


def _of_run(arguments: argparse.Namespace) -> tuple[Pretraining, Path, str]:
    """(Settings, folder, folder of the pictures) of a run."""
    from dynlab.images.training import run_folder

    allowed = "the folder of a run, or left out with --weights FILE --encoder NAME"
    require(arguments.run is not None, "run", arguments.run, allowed)
    for name in OF_WEIGHTS:
        require(getattr(arguments, name) is None, name, getattr(arguments, name), "left out with RUN, which has its own")
    place = expanded(arguments.run)
    data = run_folder.run_of(place)["data"]
    return run_folder.settings_of(place), place, data


def _of_weights(arguments: argparse.Namespace, path: Path) -> tuple[Pretraining, Path, str]:
    """The same of weights from elsewhere: an encoder without projector."""
    require(arguments.run is None, "run", arguments.run, "left out with --weights")
    require(path.suffix.lower() in (".safetensors", ".npz"), "weights", arguments.weights, "a file of safetensors or npz")
    require(arguments.encoder is not None, "encoder", None, "the name of the network that --weights are of")
    choice("encoder", arguments.encoder, ENCODERS)
    given = {name: number_of(getattr(arguments, name)) for name in OF_WEIGHTS[:-1] if getattr(arguments, name) is not None}
    settings = Pretraining(**{"augmentation": SHOWN, "projector": (), **given})
    return settings, expanded(arguments.out or f"runs/evaluate-{path.stem}"), "data"


def parser() -> Parser:
    """The options. Values stay words here: `check` turns them into numbers and says what is allowed."""
    p = Parser(
        prog=PROGRAM,
        description="Measure the frozen features of a pretrained encoder: nearest neighbours, linear probe, spectrum.",
        epilog="example: dynlab evaluate runs/x --of encoder,z",
    )
    p.add_argument("run", help="folder of a finished run of dynlab.pretrain", metavar="RUN", nargs="?")
    what = "or weights of an encoder that was trained elsewhere, safetensors or npz with the names of PyTorch"
    p.option("--weights", what, metavar="FILE")
    p.option("--encoder", f"of --weights: of {', '.join(ENCODERS)}", metavar="NAME")
    p.option("--dataset", "of --weights: the pictures to evaluate on (default cifar10)", metavar="NAME")
    p.option(
        "--augmentation", f"of --weights: whose size and means pictures are shown with (default {SHOWN})", metavar="NAME"
    )
    p.option("--side", "of --weights, with --dataset folder: pixels of a side that pictures are brought to")
    for name, metavar in zip(PATCH_SETTINGS, ("PHI", "H", "NAME", "M", "N"), strict=True):
        p.option(f"--{name.replace('_', '-')}", "of --weights of encoder patch, as in dynlab pretrain", metavar=metavar)
    p.option("--out", "of --weights: folder of the results (default: one named by the file under runs/)", metavar="DIR")
    p.option("--data", "folder with the pictures' files (default: that of the run; with --weights data)", metavar="DIR")
    everything = ",".join(REPRESENTATIONS)
    p.option("--of", f"what to measure, with commas (default {everything}; with --weights without z)", metavar="NAME,NAME")
    p.option(
        "--trials",
        "of a run on speech: file of lines 0|1 FILE FILE (default: all pairs with different labels)",
        metavar="FILE",
    )
    p.option("--rounds", "of a run on speech: rounds of pseudo-labels, each an encoder trained by clusters (default: none)")
    p.option("--clusters", "of them, for each round (default 20)")
    p.option("--limit", "learn from this many of the training pictures (default: all; of speech 6000 recordings)")
    add_files(p)
    add_computing(p)
    p.add_argument("--quiet", action="store_true", help="print nothing but errors")
    return p


if __name__ == "__main__":
    sys.exit(main())
