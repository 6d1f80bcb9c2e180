"""Recipes as files: those of before set what they set, unknown keys are named with the nearest, nothing is dropped."""

import json
import random
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from dynlab import pretrain, recipes
from dynlab.images.data import datasets
from dynlab.images.data.pipelines import resolved
from dynlab.images.recipes.recipe_files import KNOWN_RECIPES, Recipe, read_recipe
from dynlab.images.settings import RECIPES, Pretraining, pretraining, recipe_of
from dynlab.tools.checks import SettingError
from tests.images import small

# What the four recipes set before they were files.
BEFORE = {
    "demo": {
        "encoder": "demo", "projector": (128, 64), "optimiser": "adam", "lr": 0.003, "batch": 128, "steps": 1501,
        "augmentation": "demo", "knn_every": 0,
    },
    "cpu-small": {
        "encoder": "convnet", "projector": (256, 64), "optimiser": "adam", "lr": 0.003, "batch": 128, "epochs": 20,
        "augmentation": "demo",
    },
    "simsiam-cifar10": {
        "encoder": "resnet18", "projector": (2048, 2048), "projector_norm": "batch", "head": "mlp",
        "head_hidden": 512, "optimiser": "sgd", "lr": 0.03 * 512 / 256, "momentum": 0.9,
        "weight_decay": 5e-4, "batch": 512, "schedule": "cosine", "epochs": 800, "loss_weight": 0.5,
        "augmentation": "simsiam-cifar10",
    },
    "paper": {
        "encoder": "resnet18", "projector": (512, 64), "optimiser": "adam", "lr": 0.003, "batch": 512, "epochs": 200,
        "augmentation": "simsiam-cifar10",
    },
}  # fmt: skip


@pytest.mark.parametrize("name", BEFORE)
def test_the_recipes_of_before_set_what_they_set(name):
    assert RECIPES[name] == BEFORE[name] and pretraining(name) == Pretraining(**BEFORE[name])
    assert list(RECIPES)[:4] == list(BEFORE)


def meant(key, value):
    """A value in a file as a run has it."""
    value = tuple(value) if isinstance(value, list) else value
    return resolved(value) if key == "augmentation" and isinstance(value, dict) else value


def test_every_recipe_can_be_run_and_says_where_it_is_from():
    names = {field.name for field in fields(Pretraining)}
    for name, recipe in KNOWN_RECIPES.items():
        assert set(recipe.settings) <= names and recipe.source and recipe.known and recipe.method
        made = pretraining(name)
        assert all(getattr(made, key) == meant(key, value) for key, value in recipe.settings.items()), name
        small = name.startswith("small-")
        assert small == (recipe.least_gain is not None or recipe.most_gain is not None)
        assert not recipe.published or set(recipe.published) == {"result", "protocol", "source"}
        if small:  # one budget for all
            budget = (made.dataset, made.encoder, made.batch, made.steps, made.lr, made.optimiser, made.limit)
            assert budget == ("cifar10", "demo", 128, 1501, 0.003, "adam", None)


def test_gates_are_those_that_were_asked_for():
    gains = {name.removeprefix("small-"): one.least_gain for name, one in KNOWN_RECIPES.items() if name.startswith("small-")}
    assert gains.pop("dino") == 0.06 and gains.pop("decorrelation") == 0.03 and gains.pop("none") is None
    assert KNOWN_RECIPES["small-none"].most_gain == 0.0
    assert set(gains) == {
        "off-diagonal", "byol", "simsiam", "directpred", "directcopy", "barlow-twins", "vicreg", "simclr",
    } and set(gains.values()) == {0.08}  # fmt: skip


def test_the_methods_that_were_published_with_a_moving_average_have_one():
    for name, momentum in (("byol", 0.99), ("directpred", 0.996), ("directcopy", 0.996)):
        made = pretraining(f"small-{name}")
        assert (made.target, made.target_momentum, made.stop_gradient) == ("average", momentum, "target")
    simsiam = pretraining("small-simsiam")
    assert (simsiam.target, simsiam.projector_norm, simsiam.head, simsiam.normalisation) == (
        "same",
        "batch",
        "mlp",
        "length",
    )


WRONG = [
    ("[settings]\nhed = 'none'", "without the setting 'hed', which pretraining has not; did you mean head?"),
    ("metho = 'x'\n[settings]", "without the key 'metho', which a recipe has not; did you mean method?"),
    ("head = 'none'", "without the key 'head', which a recipe has not"),
    ("", "a TOML file with a table [settings]"),
    ("settings = 3", "a TOML file with a table [settings]"),
    ("[settings]\nlr = -1", "a recipe that can be run: lr=-1: must be a finite number > 0"),
    ("[settings]\nlr = nan", "a recipe that can be run: lr=nan: must be"),
    ("[settings]\nhead-lr = 1\nhead_lr = 1", "a recipe that gives head_lr once"),
    ("[settings]\nloss = 'simclr'\nhead = 'mlp'", "a recipe that can be run: head='mlp': must be \"none\""),
    ("[settings]\nloss = ['simclr']", "a recipe that can be run: loss=('simclr',): must be one of similarity"),
    ("[settings]\ntemperature = 0", "a recipe that can be run: temperature=0: must be a finite number > 0"),
    ("[settings]\nlr = {a = 1}", "a recipe that can be run: lr={'a': 1}: must be"),
    ("method = 3\n[settings]", "a recipe whose method is text, not 3"),
    ("least_gain = 'x'\n[settings]", "a recipe whose least_gain='x': must be a finite number"),
    ("[settings]\n[published]\nresul = '1'", "without the key 'resul' in [published], which a recipe has not; did you mean"),
    ("published = 'x'\n[settings]", "a recipe whose published is a table of result, protocol, source"),
    ("[settings", "a TOML file of a recipe that can be read ("),
    ("[settings]\n'a b' = 1", "without the key 'a b', which is no name"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), WRONG)
def test_what_is_wrong_in_a_file_is_said_in_a_line(text, said, tmp_path, capsys):
    path = tmp_path / "own.toml"
    path.write_text(text)
    with pytest.raises(SettingError) as found:
        recipe_of(path)
    assert found.value.name == "recipe" and found.value.allowed.startswith(said)
    assert pretrain.main(["--recipe", str(path), "--data", "nowhere", "--out", str(tmp_path / "x")]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and line.startswith(f"dynlab.pretrain: error: --recipe {path}: must be {said}")


def test_files_that_cannot_be_read_and_names_that_there_are_not(tmp_path):
    for path in (tmp_path / "missing.toml", tmp_path):
        with pytest.raises(SettingError, match="a TOML file of a recipe that can be read"):
            recipe_of(path)
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingError, match="can be read"):
        recipe_of(str(tmp_path / "bytes.toml"))
    with pytest.raises(SettingError, match="did you mean small-byol"):
        recipe_of("small-boyl")


def test_a_file_of_ones_own_is_a_recipe(tmp_path, monkeypatch):
    path = tmp_path / "mine.toml"
    path.write_text("\ufeff[settings]\nencoder = 'demo'\nprojector = [16, 8]\nhead-lr = 0.5\n", encoding="utf-8")
    recipe = read_recipe(path)
    assert recipe == Recipe("mine", "mine", settings={"encoder": "demo", "projector": (16, 8), "head_lr": 0.5})
    assert pretraining(path, seed=3) == Pretraining(encoder="demo", projector=(16, 8), head_lr=0.5, seed=3)
    assert pretraining(str(path), head_lr=2.0).head_lr == 2.0
    monkeypatch.chdir(tmp_path)
    assert pretraining("mine.toml") == pretraining("./mine.toml") == pretraining(path)
    Path("demo").write_text("a file that is called as a recipe is none")
    assert pretraining("demo") == Pretraining(**BEFORE["demo"])


def test_a_run_by_a_file_is_that_by_its_options_and_goes_on_with_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(datasets, "load", small.load)
    path, common = tmp_path / "mine.toml", ["--data", "nowhere", "--no-plots", "--quiet", "--steps", "4"]
    path.write_text("[settings]\nencoder = 'demo'\nprojector = [8, 4]\nbatch = 16\nlimit = 48\nrecord = 1\nhead-lr = 0.5\n")
    words = "--encoder demo --projector 8,4 --batch 16 --limit 48 --record 1 --head-lr 0.5".split()
    assert pretrain.main(["--recipe", str(path), *common, "--out", str(tmp_path / "a")]) == 0
    assert pretrain.main([*words, *common, "--out", str(tmp_path / "b")]) == 0
    assert (tmp_path / "a" / "metrics.csv").read_bytes() == (tmp_path / "b" / "metrics.csv").read_bytes()
    again = ["--recipe", str(path), *common, "--resume", "--out", str(tmp_path / "a")]
    assert pretrain.main(again) == 0 and capsys.readouterr().err == ""
    path.write_text(path.read_text().replace("0.5", "0.25"))
    assert pretrain.main(again) == 2
    assert "head_lr=0.25: must be 0.5, as in the run that is resumed" in capsys.readouterr().err.replace(
        "--head-lr ", "head_lr="
    )


def mutated(text: str, draw: random.Random) -> str:
    """A recipe with something changed: a letter, a line, a value."""
    lines = text.splitlines()
    for _ in range(draw.randrange(1, 4)):
        kind, place = draw.randrange(5), draw.randrange(len(lines))
        if kind == 0:
            lines[place] = lines[draw.randrange(len(lines))]
        elif kind == 1 and lines[place]:
            at = draw.randrange(len(lines[place]))
            lines[place] = lines[place][:at] + draw.choice("abz=[]\"'.-0\x00é{}") + lines[place][at + draw.randrange(2) :]
        elif kind == 2:
            value = draw.choice(
                ["-1", "0", "1e400", "nan", "true", '""', "[]", "[1, [2]]", "{a = 1}", "1979-05-27", "9" * 30]
            )
            lines[place] = f"{lines[place].partition('=')[0].strip() or 'lr'} = {value}"
        elif kind == 3:
            del lines[place]
            lines = lines or [""]
        else:
            lines.insert(place, draw.choice(["[settings]", "[published]", "[other]", "steps = 3", "method = 'x'"]))
    return "\n".join(lines)


def test_drawn_files_are_taken_or_refused_in_a_line(tmp_path):
    draw, path, taken = random.Random(19), tmp_path / "drawn.toml", 0
    texts = [(Path(recipes.__file__).parent / "images" / "recipes" / f"{name}.toml").read_text() for name in KNOWN_RECIPES]
    for _ in range(600):
        path.write_text(mutated(draw.choice(texts), draw), encoding="utf-8")
        try:
            found = recipe_of(path)
        except SettingError as error:
            assert error.name == "recipe" and str(path) in str(error) and "\n" not in str(error)
            continue
        taken += 1
        made = pretraining(path)
        held = tomllib.loads(path.read_text(encoding="utf-8"))["settings"]
        for key, value in held.items():  # what a file says is what the run has: nothing was dropped
            given = meant(key, value)
            kept = getattr(made, key.replace("-", "_"))
            assert kept == (float(given) if isinstance(kept, float) else given)  # of a large integer the nearest float
        assert len(found.settings) == len(held)
    assert 50 < taken < 550


def test_the_command_lists_them_and_shows_one(capsys, tmp_path):
    assert recipes.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["name", "method", "data", "length", "source", "known", "result"]
    assert [line.split()[0] for line in lines[1:]] == list(KNOWN_RECIPES)
    assert (
        "1501 steps" in next(line for line in lines if line.startswith("small-vicreg"))
        and "800 epochs" in lines[3]
        and "cifar10" in lines[1]
    )
    for name in KNOWN_RECIPES:
        assert recipes.main([name]) == 0
        shown = capsys.readouterr().out
        settings, _, command = shown.partition("[settings]\n")[2].rpartition("\n\n")
        assert command == f"dynlab pretrain --recipe {name} --data DIR --out runs/{name}\n"
        (tmp_path / "again.toml").write_text(f"[settings]\n{settings}\n")
        assert read_recipe(tmp_path / "again.toml").settings == KNOWN_RECIPES[name].settings
    assert recipes.main(["--json"]) == 0
    assert json.loads(capsys.readouterr().out)["small-byol"]["settings"]["target_momentum"] == 0.99
    assert recipes.main(["smal-byol"]) == 2
    line = capsys.readouterr().err
    assert (
        line.startswith("dynlab.recipes: error: NAME smal-byol: must be one of demo,") and "did you mean small-byol?" in line
    )
