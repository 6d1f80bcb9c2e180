"""Kinds of trouble of their own, drawn: training that diverges, a newest checkpoint that is cut, files as editors and other
systems write them, numbers as arrays give them. `tests.faults.fuzz` runs them; each returns its `Report`.
"""

from __future__ import annotations

import json
import random
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.faults import fuzz
from tests.faults.commands import COMMANDS, OUT, STUBS, TABLE, Command

TRAINING = ("pretrain", "sgd", "sgd with checkpoints", "compare")  # commands whose training can be made to diverge
RESUMED = ("pretrain", "sgd with checkpoints")  # commands that keep checkpoints
LOSSES = ("similarity", "barlow-twins", "vicreg", "simclr", "dino")
TOLD = re.compile(r"step \d+: .*(not finite|overflow|zero variance)")


def divergence(name: str, draw: random.Random, count: int) -> fuzz.Report:
    """Train at rates from good to absurd: it ends well, or stops with status 1 and says where; what is kept is finite."""
    command, report = TABLE[name], fuzz.Report()
    template = fuzz.keep_template()
    for _ in range(count):
        words = [*command.words.split(), "--quiet", *rates(name, draw)]
        answer = fuzz.call(command, words)
        wrong = [answer.trouble] if answer.trouble else [f"warnings: {answer.warned}"] if answer.warned else []
        lines = answer.errors.splitlines()
        if answer.status == 0:
            report.accepted += 1
            wrong += ["words on standard error"] if lines else []
        elif answer.status == 1:
            report.refused += 1
            wrong += [f"does not say where: {line}" for line in lines if not TOLD.search(line)] or (
                [] if lines else ["silent"]
            )
        else:
            wrong.append(f"status {answer.status}")
        wrong += not_finite(Path())
        if name == "pretrain" and not wrong:
            wrong += judged(answer.status == 1)
        if wrong:
            report.wrong.append(f"{'; '.join(wrong)}: {shlex.join(words)}: {answer.errors[-300:]!a}")
        fuzz.restore(template)
    return report


def rates(name: str, draw: random.Random) -> list[str]:
    """Words for a rate from good to beyond the floats, an optimiser and, where there are several, a loss or a precision."""
    words = ["--lr", f"{10 ** draw.uniform(-3.0, 45.0 if name == 'pretrain' else 150.0):.3e}"]
    if name != "pretrain":
        words += ["--optimiser", draw.choice(("sgd", "momentum", "adam"))]
        return [*words, "--precision", draw.choice(("float64", "float32"))]
    words += ["--optimiser", draw.choice(("sgd", "adam", "adamw", "lars")), "--loss", draw.choice(LOSSES)]
    return [*words, "--record", str(draw.randrange(1, 9)), "--every", str(draw.randrange(1, 5))]


def not_finite(place: Path) -> list[str]:
    """What is not finite in the files below a folder: columns of tables, arrays of checkpoints and weights."""
    found = []
    for path in place.rglob("*.npz"):
        with np.load(path) as file:
            kept = {name: file[name] for name in file.files if name != "state_marks"}  # events that have not come are nan
        found += [f"{path.name}: {name}" for name, array in kept.items() if array.dtype.kind == "f" and not _finite(array)]
    for path in place.rglob("*.csv"):
        table = pd.read_csv(path, comment="#")
        for column in {"loss", "rank", "sd", "unit_sd", "weight"} & set(table):
            found += [] if _finite(table[column].to_numpy(dtype=float)) else [f"{path.name}: {column}"]
    return found


def _finite(array: np.ndarray) -> bool:
    return bool(np.isfinite(array).all())


def judged(stopped: bool) -> list[str]:
    """What explain, evaluate and --resume say of a run of pretraining that has ended or was stopped by divergence."""
    wrong = []
    explained = fuzz.call(TABLE["explain pictures"], [OUT])
    if explained.status != 0 or ("DIVERGED" in explained.out) < stopped:
        wrong.append(f"explain: {explained.status} {explained.out[-200:]} {explained.errors} {explained.trouble}")
    if stopped:
        again = fuzz.call(COMMANDS["pretrain"], ["--resume", "--out", OUT, "--quiet"])
        if again.status not in (0, 1) or again.trouble:  # from the last finite checkpoint, with another `every`
            wrong.append(f"continued: {again.status} {again.errors} {again.trouble}")
        measured = fuzz.call(TABLE["evaluate"], [OUT, "--of", "z", "--quiet"])
        if again.status == 1 and (measured.status not in (1, 2) or measured.errors.count("\n") != 1):
            wrong.append(f"evaluate: {measured.status} {measured.errors} {measured.trouble}")
    return wrong


def newest(name: str, draw: random.Random, count: int) -> fuzz.Report:
    """Cut the newest checkpoint of a stopped run: refused in a line, and what that advises leads to the same bytes."""
    command, report = TABLE[name], fuzz.Report()
    whole, left = stopped_run(command)
    template = fuzz.keep_template()
    for number in range(count):
        kept = sorted(path for path in Path().rglob("step-*.npz"))
        removed = 0 if number % 4 else len(kept) - 1  # now and then it is the only one
        for path in kept[:removed]:
            path.unlink()
        content = kept[-1].read_bytes()
        kept[-1].write_bytes(content[: draw.choice((0, 1, draw.randrange(len(content)), len(content) - 1))])
        words = [*left]
        before = fuzz.state()
        answer = fuzz.call(command, words)
        fuzz.judge(report, command, answer, [kept[-1].name, *words], [kept[-1].name], before == fuzz.state())
        advised = re.search(r"(\S+): is damaged; remove it to (go on from (\S+)|begin anew)", answer.errors)
        if advised is None:
            report.wrong.append(f"no advice: {answer.errors}")
        else:
            told = Path(advised[1].rpartition(" ")[2])
            if advised[3] and not (told.parent / advised[3]).is_file():
                report.wrong.append(f"{advised[3]} is not there")
            told.unlink()
            followed = fuzz.call(command, words)
            if followed.status != 0 or chosen(command) != whole:
                report.wrong.append(f"as advised: {followed.status} {followed.errors} {followed.trouble}")
        fuzz.restore(template)
    return report


class Stopped(BaseException):
    """As if the process had been killed."""


def stopped_run(command: Command) -> tuple[dict[str, bytes], list[str]]:
    """The bytes of an undisturbed run, which is then removed; and the words that go on with one stopped after its last
    checkpoint, which is laid on the desk."""
    from dynlab.tools import checkpoint

    words = command.words.split()
    undisturbed = fuzz.call(command, words)
    assert undisturbed.status == 0, undisturbed
    whole = chosen(command)
    for path in Path().glob("*"):
        if path.is_dir() and path.name in (OUT, "kept"):
            shutil.rmtree(path)
    save, saved = checkpoint.save, 0

    def stop(*arguments, **options):
        nonlocal saved
        save(*arguments, **options)
        saved += 1
        if saved == 2:
            raise Stopped

    checkpoint.save = stop
    try:
        fuzz.call(command, words)
    except Stopped:
        pass
    finally:
        checkpoint.save = save
    assert len(list(Path().rglob("step-*.npz"))) == 2, list(Path().rglob("*"))
    return whole, [*words, *(command.resume or ())]


def chosen(command: Command) -> dict[str, bytes]:
    """The files that equal runs give equal bytes."""
    return {str(path): path.read_bytes() for pattern in command.same for path in sorted(Path().glob(pattern))}


MARKS: dict[str, Callable[[str], bytes]] = {
    "plain": lambda text: text.encode(),
    "byte-order mark": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "carriage returns": lambda text: text.replace("\n", "\r\n").encode(),
    "mark and carriage returns": lambda text: b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode(),
    "no last line end": lambda text: text.rstrip("\n").encode(),
}


def marked(name: str, draw: random.Random, count: int) -> fuzz.Report:
    """Give a command its options in a TOML file as editors write it, with ~ for the home folder: taken as typed ones are."""
    command, report = TABLE[name], fuzz.Report()
    template = fuzz.keep_template()
    fuzz.stub(STUBS[name])
    places, options = split(command)
    for number in range(count):
        how = list(MARKS)[number % len(MARKS)]
        given = dict(options)
        for path in {"--out", "--data", "--checkpoints"} & set(given):
            given[path] = f"~/{draw.choice(('made', 'a folder/made', 'mädé'))}"
        text = "".join(
            f"{key.removeprefix('--')} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in given.items()
        )
        Path("options.toml").write_bytes(MARKS[how](text))
        words = [*places, "--config", "options.toml"]
        answer = fuzz.call(command, words)
        report.accepted += answer.status in (None, 0)
        typed = fuzz.call(command, [*places, *(word for key, value in options.items() for word in typed_as(key, value))])
        if (answer.status, bool(answer.trouble)) != (typed.status, False) or answer.warned:
            report.wrong.append(f"{how}: {text!a}: {answer.status} for {typed.status}: {answer.errors} {answer.trouble}")
        if any(path.name.startswith("~") for path in Path().iterdir()):
            report.wrong.append(f"{how}: a folder called ~")
        fuzz.restore(template)
    return report


def split(command: Command) -> tuple[list[str], dict[str, Any]]:
    """The words of a command that are places, and its options by name; True for one without a value."""
    words, places, options = command.words.split(), [], {}
    while words:
        word = words.pop(0)
        if not word.startswith("--"):
            places.append(word)
        elif words and not words[0].startswith("--") and word not in ("--quiet", "--no-plots", "--fast", "--quick"):
            options[word] = words.pop(0)
        else:
            options[word] = True
    if options.get("--method") == "sgd":
        places += ["--method", options.pop("--method")]  # decides which options there are
    return places, options


def typed_as(name: str, value: Any) -> list[str]:
    """An option as words."""
    return [name] if value is True else [name, value]


WHOLE: tuple[Callable[[int], Any], ...] = (
    np.int64, np.int32, np.uint8, np.float64, np.float32, float, np.array, lambda x: np.array(float(x)), np.float16,
)  # fmt: skip
REAL: tuple[Callable[[float], Any], ...] = (np.float64, np.float32, np.array, lambda x: np.array(x, np.float32))
TRUTH: tuple[Callable[[bool], Any], ...] = (np.bool_, np.array)


def scalars(name: str, draw: random.Random, count: int) -> fuzz.Report:
    """Give the functions of Python numbers as arrays and tables hold them: the result is that of Python's own."""
    report, tried = fuzz.Report(), CALLS[name]
    function, plain = tried
    expected = function(**plain)
    for _ in range(count):
        given = {key: as_arrays_give(value, draw) for key, value in plain.items()}
        told = {key: f"{type(value).__name__} {value!r}" for key, value in given.items() if value is not plain[key]}
        report.accepted += 1
        try:
            found = function(**given)
        except Exception as error:
            report.wrong.append(f"{type(error).__name__}: {error}: {told}")
            continue
        if found != expected:
            report.wrong.append(f"{found!r}, not {expected!r}: {told}")
    return report


def as_arrays_give(value: Any, draw: random.Random) -> Any:
    """The same number of another type; anything else as it is."""
    kinds: tuple = ()
    if isinstance(value, bool):
        kinds = TRUTH
    elif isinstance(value, int):
        kinds = WHOLE if value < 200 else WHOLE[:2] + WHOLE[3:4]
    elif isinstance(value, float):
        kinds = REAL
    return draw.choice(kinds)(value) if kinds and draw.random() < 0.7 else value


def _calls() -> dict[str, tuple[Callable, dict]]:
    """A function for comparison, and numbers that every type here holds exactly."""
    import dynlab
    from dynlab.images.settings import Pretraining
    from dynlab.maps.axes import Axis
    from dynlab.maps.grid import Grid

    def bits(*arrays: np.ndarray) -> tuple:
        return tuple(np.asarray(array, dtype=np.float64).tobytes() for array in arrays)

    def started(dim, rng, scale):
        found = dynlab.OrderParameters.sample(dynlab.Model(), dim, rng, scale)
        return bits(found.signal, found.noise_gram)

    def followed(dim, **given):
        model = dynlab.Model()
        run = dynlab.simulate(model, dynlab.OrderParameters.sample(model, 8, 0), **given)
        return bits(run.time, run.signal, run.head), dim

    def many(**given):
        return dynlab.ensemble(dynlab.Model(), **given).frame.drop(columns="seed").to_csv()

    def map_of(seed, dim, weak):
        grid = Grid(Axis("noise", (0.25, 0.5)), Axis("eta_head", (0.125, 0.5)), {"dim": dim, "weak": weak}, seed)
        return json.dumps(grid.settings(), sort_keys=True)

    model = {"patches": 16, "feature_patches": 4, "neurons": 2, "strong": 1.0, "weak": 0.25, "noise": 0.5}
    training = {"eta_head": 0.125, "target_rate": 0.5, "symmetric": True, "weight_decay": 0.0, "start_scale": 2.0}
    pictures = {
        "batch": 16, "epochs": 2, "seed": 3, "record": 5, "knn_every": 1, "limit": 48, "steps": 20, "lr": 0.125,
        "momentum": 0.5, "weight_decay": 0.0, "loss_weight": 0.5, "warm_up": 0.0,
    }  # fmt: skip
    return {
        "Model": (dynlab.Model, model), "Training": (dynlab.Training, training), "Pretraining": (Pretraining, pictures),
        "a start": (started, {"dim": 8, "rng": 7, "scale": 0.5}),
        "a flow": (followed, {"dim": 8, "eta_head": 0.125, "until": 8.0, "rtol": 2.0**-10}),
        "a descent": (followed, {"dim": 8, "eta_head": 0.125, "eta": 0.0625, "steps": 16, "method": "descent"}),
        "minibatches": (followed, {"dim": 8, "method": "sgd", "batch": 16, "steps": 3, "seed": 2, "eta": 0.125, "data": 64}),
        "an ensemble": (many, {"dim": 8, "seeds": 3, "seed": 1, "until": 8.0, "eta_head": 0.125, "threads": 1}),
        "a map": (map_of, {"seed": 2, "dim": 8, "weak": 0.25}),
    }  # fmt: skip


class _Calls(dict):
    """`_calls`, made when it is first asked."""

    NAMES = (
        "Model", "Training", "Pretraining", "a start", "a flow", "a descent", "minibatches", "an ensemble", "a map",
    )  # fmt: skip

    def __missing__(self, name: str) -> tuple[Callable, dict]:
        self.update(_calls())
        return self[name]


CALLS = _Calls()
