"""The table of commands, with settings so small that each takes about a second.

A new command is a line of COMMANDS: then every test of this folder is made for it.
"""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

OUT = "out"  # the folder that commands write to, below the desk


@dataclass(frozen=True)
class Command:
    """A command of dynlab.

    module: its `main(words)`. words: options of a small run; they write to OUT. same: names below the desk, as patterns, of
    the files that equal runs give equal bytes. resume: words added where a stopped run is resumed; None where
    there is nothing to go on with. stays: what a run that was killed may leave behind, as patterns of names in the desk.
    lay: puts on the desk what the command reads, given a folder to keep it in. small: on the small pictures of the tests.
    shared: several may write to one folder.
    """

    module: str
    words: str
    same: tuple[str, ...] = (f"{OUT}/*.csv",)
    resume: tuple[str, ...] | None = None
    stays: tuple[str, ...] = (f".{OUT}.partial",)
    lay: Callable[[Path, Path], None] | None = None
    small: bool = False
    shared: bool = False

    @property
    def program(self) -> str:
        """The name that its errors begin with."""
        return importlib.import_module(self.module).PROGRAM

    @property
    def prepare(self) -> str:
        """What `processes` calls before the command."""
        return "tests.faults.commands:use_small_pictures" if self.small else ""


def use_small_pictures() -> None:
    """Let commands on pictures find the small set of the tests instead of the published files."""
    from dynlab.images.data import datasets
    from tests.images import small

    datasets.load = small.load


SAMPLES = "--method sgd --activation cubic --head none --batch 16 --steps 40 --dim 6 --seeds 1 --quiet --no-plots"
PRETRAIN = (
    "--encoder demo --projector 8,4 --batch 16 --steps 6 --record 2 --every 2 --limit 48 --augmentation demo --data nowhere "
    f"--no-plots --out {OUT}"
)


def pretrained(desk: Path, kept: Path) -> None:
    """Lay a finished run of pretraining on the desk."""
    finished("pretrain", desk, kept)


def followed(desk: Path, kept: Path) -> None:
    """Lay a finished run of the exact flow on the desk."""
    finished("run", desk, kept)


def embedded(desk: Path, kept: Path) -> None:
    """Lay embeddings on the desk."""
    import numpy as np

    np.save(desk / "z.npy", np.random.default_rng(0).standard_normal((40, 4)))


def gridded(desk: Path, kept: Path) -> None:
    """Lay the file of a sweep on the desk."""
    (desk / "sweep.toml").write_text('command = "run"\n[settings]\nseeds = 2\ndim = 64\n[grid]\nweak = [0.2, 0.6]\n')


def finished(name: str, desk: Path, kept: Path) -> None:
    """Lay what a command makes on the desk."""
    from tests.faults.processes import Running

    if not (kept / OUT).exists():
        kept.mkdir(exist_ok=True)
        made, notes = COMMANDS[name], kept.with_name("notes-of-what-was-laid")
        ended = Running(made.module, made.words.split(), kept, notes, prepare=made.prepare).wait()
        assert ended.status == 0, ended
    shutil.copytree(kept / OUT, desk / OUT)


COMMANDS = {
    "run": Command("dynlab.run", f"--activation cubic --seeds 8 --dim 64 --no-plots --out {OUT}"),
    "descent": Command(
        "dynlab.run", f"--method descent --activation cubic --seeds 2 --dim 16 --until 300 --no-plots --out {OUT}"
    ),
    "sgd": Command("dynlab.run", f"{SAMPLES} --out {OUT}"),
    "sgd with checkpoints": Command("dynlab.run", f"{SAMPLES} --every 10 --checkpoints kept --out {OUT}",
                                    stays=(f".{OUT}.partial", "kept")),
    "compare": Command("dynlab.compare", f"--batch 8,16 --steps 8 --seeds 2 --head none --quiet --no-plots --out {OUT}"),
    "theorem": Command("dynlab.theorem", f"--quick --claims 9 --no-plots --out {OUT}",
                       same=(f"{OUT}/*.csv", f"{OUT}/*.json", f"{OUT}/*.md"), resume=(), stays=(OUT,)),
    "ablate": Command("dynlab.ablate", f"--seeds 2 --dim 64 --groups paper --until 1e6 --out {OUT}"),
    "phase": Command("dynlab.phase", f"--x weak=0.2:0.8:2 --y eta-head=0.01:0.1:2 --seeds 8 --no-plots --out {OUT}",
                     resume=(), stays=(OUT,)),
    "sweep": Command("dynlab.sweep", f"sweep.toml --out {OUT}", same=(f"{OUT}/sweep.csv", f"{OUT}/swept/*.json"), resume=(),
                     stays=(OUT,), lay=gridded),
    "portrait": Command("dynlab.portrait", f"--points 4 --trajectories 2 --no-plots --out {OUT}"),
    "pretrain": Command("dynlab.pretrain", PRETRAIN, same=(f"{OUT}/metrics.csv", f"{OUT}/weights.npz"),
                        resume=("--resume",), stays=(OUT,), small=True),
    "evaluate": Command("dynlab.evaluate", f"{OUT} --of z", same=(f"{OUT}/spectrum.csv",), resume=(), stays=(OUT,),
                        lay=pretrained, small=True, shared=True),
    "export": Command("dynlab.export", OUT, same=(f"{OUT}/encoder.safetensors",), resume=(), stays=(OUT,),
                      lay=pretrained, small=True, shared=True),
    "heads": Command("dynlab.heads", "--recipe demo --heads none --normalisations length --steps 4 --batch 16 "
                     f"--limit 48 --data nowhere --no-plots --out {OUT}",
                     same=(f"{OUT}/heads.csv", f"{OUT}/runs.csv", f"{OUT}/*/metrics.csv", f"{OUT}/*/weights.npz"),
                     resume=(), stays=(OUT,), small=True),
    "methods": Command("dynlab.methods", "--methods none --seeds 1 --steps 4 --batch 16 --limit 48 --data nowhere "
                       f"--no-plots --out {OUT}",
                       same=(f"{OUT}/methods.csv", f"{OUT}/*/metrics.csv", f"{OUT}/*/weights.npz"), resume=(), stays=(OUT,),
                       small=True),
    "diagnose": Command("dynlab.diagnose", f"z.npy --no-plots --out {OUT}", same=(f"{OUT}/diagnose.json",), lay=embedded),
    "figures": Command("figures.__main__", f"--fast --out {OUT} scaling", resume=(), stays=(OUT,)),
}  # fmt: skip

TABLE = COMMANDS | {
    "doctor": Command("dynlab.doctor", ""),
    "explain": Command("dynlab.explain", OUT, lay=followed),
    "recipes": Command("dynlab.recipes", "small-byol"),
    "explain pictures": Command("dynlab.explain", OUT, lay=pretrained, small=True),
}
"""All commands: those that write, and those that only read and print."""

CLUSTER = "dynlab.command_line.executors:connected"  # reached where an address is given, whatever it is
STUBS = {
    # run also where it is advised to take another method.
    "run": ("dynlab.run:compute_main_run", "dynlab.samples.runs:compute_minibatch_runs"),
    "descent": ("dynlab.run:compute_main_run", "dynlab.samples.runs:compute_minibatch_runs"),
    "sgd": ("dynlab.samples.runs:compute_minibatch_runs",),
    "sgd with checkpoints": ("dynlab.samples.runs:compute_minibatch_runs",),
    "compare": ("dynlab.samples.runs:compute_minibatch_runs", CLUSTER),
    "theorem": ("dynlab.claims.judgement:judge_all", CLUSTER),
    "ablate": ("dynlab.ensembles.ablations:run_ablation", CLUSTER),
    "phase": ("dynlab.maps.phase_map:phase_map", "dynlab.phase:executor"),
    "sweep": ("dynlab.sweeps.swept:compute_sweep", "dynlab.command_line.executors:executor"),
    "portrait": ("dynlab.planes.portrait:compute_portrait",),
    "pretrain": ("dynlab.images.training.train:Trainer", "dynlab.images.data.download:fetch"),
    "evaluate": ("dynlab.images.worth.representations:labelled", "dynlab.images.data.download:fetch"),
    "export": ("dynlab.export:tensors_of_run",),
    "heads": (
        CLUSTER,
        "dynlab.images.training.run_folder:pretrain",
        "dynlab.images.worth.representations:appraise",
        "dynlab.images.data.download:fetch",
    ),
    "methods": (
        CLUSTER,
        "dynlab.images.training.run_folder:pretrain",
        "dynlab.images.worth.representations:appraise",
        "dynlab.images.data.download:fetch",
    ),
    "diagnose": ("dynlab.diagnose:diagnose",),
    "figures": ("figures.parts:build",),
    "doctor": ("dynlab.doctor:findings", "dynlab.machine.cache:clear"),
    "explain": ("dynlab.explanation.explanation:_explained",),
    "recipes": ("dynlab.recipes:table", "dynlab.recipes:recipe_page"),
    "explain pictures": ("dynlab.explanation.pictures:diagnose_pictures",),
}
"""What begins the work of each command, "module:function": input that comes so far was accepted."""


@dataclass(frozen=True)
class Reading:
    """Files that a command reads: names as patterns, after it ran once; words it goes on with; what ends the reading."""

    command: str
    files: tuple[str, ...]
    stubs: tuple[str, ...]
    more: tuple[str, ...] = ()


READING = {
    "the embeddings that diagnose reads": Reading("diagnose", ("z.npy",), ("dynlab.embeddings.passes:cloud",)),
    "the run that explain explains": Reading(
        "explain", (f"{OUT}/run.json", f"{OUT}/*.csv"), ("dynlab.explanation.explanation:_explained",)
    ),
    "the pretraining that explain explains": Reading(
        "explain pictures", (f"{OUT}/run.json", f"{OUT}/metrics.csv"), ("dynlab.explanation.pictures:lines",)
    ),
    "the run that evaluate measures": Reading(
        "evaluate", (f"{OUT}/run.json", f"{OUT}/weights.npz"), ("dynlab.images.worth.representations:features_of",)
    ),
    "the run that pretrain goes on with": Reading(
        "pretrain",
        (f"{OUT}/run.json", f"{OUT}/checkpoints/*.npz"),
        ("dynlab.images.training.run_folder:Run.go_on",),
        ("--resume",),
    ),
    "checkpoints of minibatches": Reading(
        "sgd with checkpoints", ("kept/*/*.npz",), ("dynlab.samples.train:_go_on",), ("--out", "other")
    ),
    "the points of a map": Reading("phase", (f"{OUT}/store/*.*",), ("dynlab.maps.phase_map:_executor",)),
    "the points of a sweep": Reading(
        "sweep", ("sweep.toml", f"{OUT}/plan.json", f"{OUT}/swept/*.json"),
        ("dynlab.sweeps.swept:made_point", "dynlab.sweeps.swept:write_sweep"),
    ),
    "the points of the theorem": Reading(
        "theorem", (f"{OUT}/points/*.npz",), ("dynlab.claims.judgement:compute_point", "dynlab.reports.theorem:write_files")
    ),
    "the runs of a contest": Reading(
        "heads", (f"{OUT}/*.json", f"{OUT}/*/run.json", f"{OUT}/*/evaluate.json"),
        ("dynlab.images.worth.representations:appraise", "dynlab.images.comparison.tables:text"),
    ),
}  # fmt: skip
