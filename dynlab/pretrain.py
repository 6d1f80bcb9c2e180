"""Pretraining on pictures.

    python -m dynlab.pretrain --dataset cifar10 --data DIR --encoder convnet --head off-diagonal --epochs 20 --out runs/x

trains an encoder without labels and fills the folder: metrics.csv and epochs.jsonl line by line, run.json, checkpoints,
weights, curves; with --tensorboard an event file for TensorBoard.
Killed at any moment, the same command with --resume goes on and ends with the same bytes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynlab.command_line.parser import Parser, number_of, run_and_tell
from dynlab.command_line.pictures import HELP_OF_SPEECH, add_computing, add_files, check_folders, fetched, training_part
from dynlab.images.settings import RECIPES, SPEECH, Pretraining, pretraining, recipe_of
from dynlab.machine.device import chosen
from dynlab.tools.callable_module import make_callable
from dynlab.tools.checks import SettingError, integer, one_of, require, threads, truth
from dynlab.tools.files import expanded
from dynlab.tools.provenance import Call

if TYPE_CHECKING:
    from dynlab.images.data.datasets import ImageSet
    from dynlab.images.training.run_folder import Recorded

PROGRAM = "dynlab.pretrain"
HELP = {
    "dataset": ("of cifar10, cifar100, stl10, mnist, fashion-mnist, or your own: folder, arrays, speech", "NAME"),
    "limit": ("use this many of the training pictures (default: all)", "N"),
    "encoder": ("of patch, demo, convnet, resnet18; of speech: tdnn, demo, convnet", "NAME"),
    "projector": ("widths of the projector, the last one the number of outputs", "W,W"),
    "projector_norm": ("after its last layer: none, or batch, a batch norm without affine map (SimSiam's)", "NAME"),
    "head": ("of none, off-diagonal, linear, symmetric, mlp, directpred, directcopy", "RULE"),
    "head_start": ("of identity, random", "START"),
    "head_hidden": ("hidden units of mlp (default: as many as outputs)", "N"),
    "loss": ("of similarity, barlow-twins, vicreg, dino, simclr", "NAME"),
    "normalisation": ("of the outputs in similarity: batch (the theory), length (BYOL, SimSiam)", "NAME"),
    "stop_gradient": ("side without gradient, of target, online, none", "SIDE"),
    "target": ("weights of the target, of same, average (moving average)", "NAME"),
    "target_momentum": ("of the moving average, a step", "TAU"),
    "decorrelation": ("weight of the sum of the outputs' squared correlations, from 0 to m(m - 1) for m outputs", "WEIGHT"),
    "loss_weight": ("factor of the loss", "WEIGHT"),
    "temperature": ("of simclr", "T"),
    "optimiser": ("of sgd (with momentum), adam, adamw, lars", "NAME"),
    "lr": ("learning rate", "RATE"),
    "momentum": ("of sgd and lars", "MU"),
    "weight_decay": ("of weights; norms and biases are left out", "RATE"),
    "head_lr": ("rate of the head in units of --lr", "RATIO"),
    "head_decay": ("weight decay of the head", "RATE"),
    "schedule": ("of the learning rate, of constant, cosine, step", "NAME"),
    "warm_up": ("epochs of linear growth of the learning rate at the start", "EPOCHS"),
    "batch": ("pictures a step, each in two views", "N"),
    "epochs": ("passes through the pictures", "N"),
    "steps": ("steps, instead of epochs", "N"),
    "augmentation": ("of demo, simsiam-cifar10, paper, none, or a TOML file; of speech: speech, voices, segments", "NAME"),
    "seed": ("of the start, the order of the pictures and the views", "N"),
    "record": ("steps between lines of metrics.csv", "N"),
    "knn_every": ("epochs between accuracies of nearest neighbours; 0: never", "N"),
    "lars_trust": ("coefficient of lars", "C"),
    "lars_rate": ("of a tensor by lars: scaled (rate times ratio) or clipped (the smaller of the two)", "NAME"),
    "gradient_clip": ("largest norm of the gradient of all that is trained; 0: any", "NORM"),
    "lr_last": ("rate that the schedule leads to", "RATE"),
    "milestones": ("of the schedule step: shares of the run, with commas", "S,S"),
    "drop": ("of the schedule step: what is left of a rate at a milestone", "SHARE"),
    "head_schedule": ("of the head's rate (default: as --schedule)", "NAME"),
    "decay_schedule": ("of --weight-decay, of constant, cosine, step", "NAME"),
    "decay_last": ("weight decay that its schedule leads to", "RATE"),
    "target_schedule": ("of --target-momentum, of constant, cosine, step", "NAME"),
    "target_last": ("momentum that its schedule leads to", "TAU"),
    "barlow_weight": ("lambda of barlow-twins", "WEIGHT"),
    "vicreg_weights": ("of vicreg, with commas: invariance, variance, covariance", "W,W,W"),
    "head_rho": ("of the moving correlation of directpred and directcopy", "RHO"),
    "head_eps": ("what these add to the eigenvalues", "EPS"),
    "head_every": ("steps from one head set by the correlation to the next", "N"),
    "prototypes": ("of dino: outputs of a last layer on z of unit length (default: none, z is the outputs)", "K"),
    "freeze_prototypes": ("epochs at the start in which that layer stays", "EPOCHS"),
    "student_temperature": ("of dino", "T"),
    "teacher_temperature": ("of dino", "T"),
    "teacher_start": ("temperature that the teacher starts with (default: the same)", "T"),
    "teacher_warm_up": ("epochs in which it goes from there", "EPOCHS"),
    "centre_momentum": ("of dino's centre", "MU"),
    "local_views": ("of dino: smaller views of a picture that the student sees, too", "N"),
    "activation": ("of patch: phi, of relu, cubic, relu3 (default: cubic)", "PHI"),
    "hidden": ("of patch: hidden units of each output", "H"),
    "readout": ("of these: own, shared, fixed (default: fixed, which is 1, for one unit, else own)", "NAME"),
    "neurons": ("of patch: its outputs (default: 64)", "M"),
    "patch_side": ("of patch: pixels of a side of a patch (default: 4)", "N"),
    "side": ("pixels of a side that pictures of folder are brought to (default: those of a view, 32 at least)", "N"),
}
HELP |= HELP_OF_SPEECH


def pretrain(
    recipe: str | Path | None = None, data: str | Path | ImageSet = "data", out: str | Path | None = None, *,
    resume: bool = False, every: int | None = None, device: str = "cpu", plots: bool = True, tensorboard: bool = False,
    quiet: bool = False, **settings: Any,
) -> Recorded:  # fmt: skip
    """Pretrain an encoder on pictures without labels, and record it in a folder.

    Parameters
    ----------
    recipe : str or path, optional
        Settings to start from: a name that `dynlab recipes` lists, or a TOML file of one's own.
    data : path or ImageSet
        Folder with the files of the pictures, or the pictures themselves.
    out : path, optional
        Folder of the run; None: one named by the settings under runs/.
    resume : bool
        Whether to go on with the stopped run in `out`, with its settings.
    every : int, optional
        Steps between checkpoints (None: an epoch).
    device, plots, tensorboard, quiet :
        Of "cpu", "cuda", "auto"; whether curves are drawn; whether TensorBoard's event file is written (extra
        `tensorboard`); whether nothing is printed.
    **settings
        Those of `dynlab.images.settings.Pretraining` (head="none", epochs=5, ...) and threads.

    Returns
    -------
    Recorded : `.metrics`, `.weights()`, `.plot()`; its `.status` is "finished", or says what stopped the training.

    Raises SettingError for values that are not allowed, `dynlab.tools.files.FolderError` for a folder not to be had.
    """
    used = threads(settings.pop("threads", None))
    known = [*HELP, "threads"]
    for name, value in settings.items():
        if name not in HELP:
            raise SettingError(name, value, f"a setting, {one_of(name, known)}")
    every = None if every is None else integer("every", every, at_least=1)
    require(not resume or out is not None, "out", None, "the folder of the run that resume goes on with")
    found = pretraining(recipe, **settings) if not resume else _resumed(expanded(str(out)), recipe, settings)
    place = expanded(out if out is not None else usual_place(found))

    from dynlab.images.data.datasets import ImageSet
    from dynlab.images.training import event_files, run_folder

    if truth("tensorboard", tensorboard):
        event_files.require_tensorboard()

    if not (resume and run_folder.finished(place)):
        at = "" if isinstance(data, ImageSet) else expanded(data)
        if isinstance(data, ImageSet):
            pictures = data
        else:
            pictures = training_part(found, at, True, quiet)
        run_folder.pretrain(
            found, pictures, place, resume=resume, threads=used, every=every, device=chosen(device), quiet=quiet, data=at,
            draw=_draw if plots else None, tensorboard=tensorboard,
        )  # fmt: skip
    return run_folder.read(place)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 1 also where training was stopped by numbers that are not finite."""
    call = parser().call(argv)
    return run_and_tell(call, lambda: run(call))


def run(call: Call) -> list[str]:
    """Check, load, train; a line for what stopped the training, if something did."""
    arguments = call.arguments
    checked_threads = threads(number_of(arguments.threads))
    every = None if arguments.every is None else integer("every", number_of(arguments.every), at_least=1)
    check_folders(arguments, "out", "data")
    named = not arguments.resume or arguments.out is not None
    require(named, "out", None, "the folder of the run that --resume goes on with")
    settings = settings_of(arguments)
    device = chosen(arguments.device)  # an error of one line, before anything is fetched or read
    place = expanded(arguments.out or usual_place(settings))

    from dynlab.images.training import event_files, run_folder

    if arguments.tensorboard:
        event_files.require_tensorboard()
    if arguments.resume and run_folder.finished(place, arguments.quiet):
        return []
    own = run_folder.run_of(place)["data"] if arguments.resume else ""
    data = expanded(arguments.data or own or "data")
    fetched(settings.dataset, data, arguments.download, arguments.quiet)
    pictures = training_part(settings, data, not arguments.no_verify, arguments.quiet)
    return run_folder.pretrain(
        settings, pictures, place, resume=arguments.resume, threads=checked_threads, every=every,
        device=device, quiet=arguments.quiet,
        command=call.command, data=data, draw=None if arguments.no_plots else _draw, tensorboard=arguments.tensorboard,
    )  # fmt: skip


def _draw(folder: Path) -> None:
    from dynlab.drawing import pretraining

    pretraining.write(folder)


def settings_of(arguments: argparse.Namespace) -> Pretraining:
    """The settings that the words mean; with --resume those of the run, which the words may repeat but not change."""
    given = {name: number_of(value) for name in HELP if (value := getattr(arguments, name)) is not None}
    if "projector" in given:
        given["projector"] = widths(arguments.projector)
    for name in ("milestones", "vicreg_weights"):
        if name in given:
            given[name] = tuple(number_of(word) for word in getattr(arguments, name).split(","))
    if not arguments.resume:
        return pretraining(arguments.recipe, **given)
    return _resumed(expanded(arguments.out), arguments.recipe, given)


def _resumed(place: Path, recipe: str | Path | None, given: dict[str, Any]) -> Pretraining:
    """The settings of the run in a folder, which what is given may repeat but not change."""
    from dynlab.images.data.pipelines import resolved
    from dynlab.images.training import run_folder

    before = run_folder.settings_of(place)
    if recipe is not None:
        given = dict(recipe_of(recipe).settings) | given
    for name, value in given.items():
        kept = getattr(before, name)
        value = tuple(value) if isinstance(value, list) else value  # as a TOML file has it
        value = resolved(value) if name == "augmentation" and before.dataset != SPEECH else value
        require(value == kept, name, value, f"{kept}, as in the run that is resumed")
    return before


def usual_place(settings: Pretraining) -> str:
    """The folder of a run for which none was named."""
    return f"runs/pretrain-{settings.dataset}-{settings.encoder}-{settings.head}-seed{settings.seed}"


def widths(words: str) -> tuple:
    """Widths of layers, with commas; none for an empty word."""
    parts = [number_of(word) for word in words.split(",")] if words.strip() not in ("", "none") else []
    if not all(isinstance(part, int) for part in parts):
        raise SettingError("projector", words, "widths with commas, as 128,128,64, or none")
    return tuple(parts)


def parser() -> Parser:
    """The options. Values stay words here: `settings_of` turns them into settings and says what is allowed."""
    p = Parser(
        prog=PROGRAM,
        description="Pretrain an encoder on pictures without labels, and watch it collapse or not.",
        epilog="example: dynlab pretrain --recipe demo --data data --head none --out runs/collapse",
    )
    p.option(
        "--data",
        "folder with the pictures' files, of arrays also a file (default data; with --resume the run's)",
        metavar="DIR",
    )
    p.option("--recipe", f"settings to start from: a TOML file, or a name of {', '.join(RECIPES)}", metavar="NAME")
    defaults = {f.name: f.default for f in fields(Pretraining)}
    for name, (what, metavar) in HELP.items():
        default = defaults[name]
        shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
        more = "" if default is None else f" (default {shown}, or the recipe's)"
        option: Any = p.add_argument(f"--{name.replace('_', '-')}", help=what + more, metavar=metavar)
        option.takes_table = name == "augmentation"
    p.option("--out", "folder of the run (default: one named by the settings under runs/)", metavar="DIR")
    p.add_argument("--resume", action="store_true", help="go on with the run in --out")
    p.option("--every", "steps between checkpoints (default: an epoch)", metavar="N")
    add_files(p)
    add_computing(p)
    p.add_argument("--tensorboard", action="store_true", help="write an event file for TensorBoard too (extra tensorboard)")
    p.add_argument("--no-plots", action="store_true", help="write no figures")
    p.add_argument("--quiet", action="store_true", help="print nothing but errors")
    return p


make_callable(__name__, pretrain)

if __name__ == "__main__":
    sys.exit(main())
