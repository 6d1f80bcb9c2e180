"""Every text of the sources that advises is followed by a test: those of one call here in a table, others as they need."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import re
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import dynlab
from dynlab import LinearModel, Model, Optimisation, OrderParameters, SettingError, Training
from dynlab.explorer.explored import explored
from dynlab.images.settings import Pretraining
from dynlab.maps.axes import Axis
from dynlab.planes.plane import Plane, Side
from dynlab.population.status import STATUS_NAMES
from dynlab.tools import checkpoint
from tests.commands.advised import FOLLOWED, NO_ADVICE, advice, texts

PACKAGE = Path(dynlab.__file__).parent


def start():
    return OrderParameters.sample(Model(), 6, 0)


def simulated(**given):
    """A short trajectory."""
    until = {} if given.get("method") == "sgd" else {"until": 1.0}
    return dynlab.simulate(Model(), start(), **{**until, **given})


def registered(name, degree=5):
    moments = {5: lambda c, s, eps: 225 * c + 600 * c**3 + 120 * c**5, 3: lambda c, s, eps: 9 * c + 6 * c**3}[degree]
    return dynlab.register_activation(name, lambda z: z**degree, degree=degree, covariance=moments)


def trained(**given):
    """The exact gradient under a training."""
    training = Training(**given.pop("training", {}))
    return dynlab.training_gradient(Model(), training, np.eye(2, 6) + 0.1, **given)


def sampled(**given):
    """A gradient on a minibatch."""
    training = Training(**given.pop("training", {}))
    return dynlab.minibatch_gradient(Model(), training, np.eye(2, 6) + 0.1, batch=4, seed=0, step=0, **given)


def dino(**given):
    """Settings of a run that learns by DINO."""
    return Pretraining(loss="dino", head="none", target="average", **given)


ADAM = Optimisation("adam")


LINE = LinearModel(np.eye(2), predictor=False)
PLAIN = LinearModel(np.eye(2))
HALF = 0.5 * np.eye(2)


def followed_line(model, **given):
    return dynlab.simulate_linear(model, HALF, until=0.1, **given)


def grid(x, y, **fixed):
    from dynlab.maps.grid import Grid

    return Grid(Axis(x, (0.2, 0.4)), Axis(y, (0.01, 0.1)), fixed)


def mapped(folder, refine=False, level=None, weak=0.5):
    from dynlab.maps.measures import Measure
    from dynlab.maps.phase_map import phase_map

    asked = grid("noise", "eta_head", weak=weak, dim=8, until=1.0)
    return phase_map(asked, folder, seeds=1, measure=Measure.named("time"), level=level, refine=refine, threads=1)


def plane(x="w21", y="w22", **given):
    return Plane(Model(), 0.01, Side(x, -1.0, 1.0), Side(y, -1.0, 1.0), **given)


def checked(name, words):
    """The settings that a command makes of its words."""
    module = importlib.import_module(f"dynlab.{name}")
    return module.check(module.parser().parse_args(shlex.split(words)))


def of_minibatches(words):
    """The settings that `dynlab.run --method sgd` makes of its words, for one run unless they say more."""
    from dynlab.command_line import minibatches
    from dynlab.run import sampled_parser

    common = "--method sgd --batch 8 --head none --activation cubic --seeds 1"
    return minibatches.check(sampled_parser().parse_args(shlex.split(f"{common} {words}")))


def pretraining(words):
    from dynlab import pretrain

    return pretrain.settings_of(pretrain.parser().parse_args(shlex.split(words)))


@dataclass(frozen=True)
class Row:
    """A text: where it stands, a part of it, a call that is answered by it, and calls that do as it says."""

    module: str
    text: str
    wrong: object
    right: tuple


def row(module, text, wrong, *right):
    return Row(module, text, wrong, right)


ROWS = [
    row("settings/model.py", "as in strengths (or give strengths=None)",
        lambda: replace(Model(), weak=0.2), lambda: replace(Model(), weak=0.3),
        lambda: replace(Model(), weak=0.2, strengths=None)),
    row("settings/registration.py", "are built in", lambda: registered("relu"), lambda: registered("advised_quintic")),
    row("settings/registration.py", "another: it is registered as",
        lambda: (registered("advised_twice"), registered("advised_twice", 3)), lambda: registered("advised_other", 3)),
    row("settings/training.py", "left out for a model without hidden units",
        lambda: simulated(training=Training(readout_rate=2.0)), lambda: simulated(training=Training())),
    row("settings/training.py", "left out with head",
        lambda: Training(head="none", head_matrix=((1.0, 0.0), (0.0, 1.0))), lambda: Training(head="none")),
    row("settings/training.py", "has a closed form only without noise (Model(noise=0)): use another",
        lambda: Training(normalisation="length").check_model(Model()),
        lambda: Training(normalisation="length").check_model(Model(noise=0)),
        *(lambda word=word: Training(normalisation=word).check_model(Model()) for word in ("batch", "scale", "none"))),
    row("population/choices.py", "left out with training, whose",
        lambda: simulated(head="none", training=Training()), lambda: simulated(training=Training(head="none"))),
    row("population/choices.py", 'left out for method "',
        lambda: simulated(optimisation=ADAM), simulated, lambda: simulated(optimisation=ADAM, method="descent", dim=6)),
    row("settings/optimisation.py", 'left out with optimiser "', lambda: Optimisation("adam", momentum=0.5),
        lambda: Optimisation("adam"), lambda: Optimisation("momentum", momentum=0.5)),
    row("command_line/options.py", 'left out for method "flow", which takes no steps',
        lambda: checked("run", "--schedule cosine"), lambda: checked("run", ""),
        lambda: checked("run", "--schedule cosine --method descent")),
    row("explorer/explored.py", "left out: settings of the page are", lambda: explored(mask="half"), explored),
    row("population/simulate.py", 'left out for method "flow"', lambda: simulated(steps=5), simulated),
    row("simulation.py", 'left out for method "', lambda: simulated(batch=4), simulated,
        lambda: simulated(method="sgd", batch=4, steps=1, dim=6)),
    row("simulation.py", 'left out for method "sgd", which takes steps',
        lambda: simulated(method="sgd", until=1.0), lambda: simulated(method="sgd", batch=4, steps=1, dim=6)),
    row("samples/train.py", "left out without checkpoints",
        lambda: simulated(method="sgd", batch=4, steps=1, dim=6, resume="step-1.npz"),
        lambda: simulated(method="sgd", batch=4, steps=1, dim=6)),
    row("samples/minibatch.py", "left out with target",
        lambda: sampled(target_weights=np.eye(2, 6)), sampled,
        lambda: sampled(target_weights=np.eye(2, 6) + 0.2, training={"target": "average"})),
    row("population/any_training/gradient.py", "head: given, must be left out with head",
        lambda: trained(head=np.eye(2), training={"head": "none"}), lambda: trained(training={"head": "none"})),
    row("population/any_training/gradient.py", ": given, must be left out with target",
        lambda: trained(target_weights=np.eye(2, 6)), trained,
        lambda: trained(target_weights=np.eye(2, 6) + 0.2, training={"target": "average"})),
    row("linear/model.py", "(or give X_prime=None)",
        lambda: replace(PLAIN, sigma=0.5), lambda: replace(PLAIN, sigma=0.5, X_prime=None)),
    row("linear/model.py", "given for a model with a predictor", lambda: followed_line(PLAIN),
        lambda: followed_line(PLAIN, W_p=np.eye(2))),
    row("linear/model.py", "the identity (or left out) without a predictor", lambda: followed_line(LINE, W_p=HALF),
        lambda: followed_line(LINE), lambda: followed_line(LINE, W_p=np.eye(2))),
    row("linear/model.py", "W itself (or left out) where beta is None", lambda: followed_line(LINE, W_a=np.eye(2)),
        lambda: followed_line(LINE), lambda: followed_line(LINE, W_a=HALF)),
    row("maps/grid.py", "another setting than that of x", lambda: grid("weak", "weak"), lambda: grid("weak", "eta_head")),
    row("maps/grid.py", "left out: it is an axis", lambda: grid("weak", "eta_head", weak=0.3),
        lambda: grid("weak", "eta_head")),
    row("phase.py", "another setting than that of --x", lambda: checked("phase", "--x weak=0.1:0.9:2 --y weak=0.1:0.9:2"),
        lambda: checked("phase", "--x weak=0.1:0.9:2 --y eta-head=0.1:0.9:2")),
    row("phase.py", "left out: it is an axis",
        lambda: checked("phase", "--x weak=0.1:0.9:2 --y eta-head=0.1:0.9:2 --weak 0.3"),
        lambda: checked("phase", "--x weak=0.1:0.9:2 --y eta-head=0.1:0.9:2")),
    row("phase.py", "given with --refine for this measure",
        lambda: checked("phase", "--x weak=0.1:0.9:2 --y eta-head=0.1:0.9:2 --measure time --refine"),
        lambda: checked("phase", "--x weak=0.1:0.9:2 --y eta-head=0.1:0.9:2 --measure time --refine --level 1e6")),
    row("planes/plane.py", "another coordinate than that of x", lambda: plane("w21", "w21"), plane),
    row("planes/plane.py", "left out: it is an axis or slaved", lambda: plane(held={"w21": 0.1}), plane,
        lambda: plane(held={"w11": 0.1})),
    row("planes/plane.py", "is given", lambda: plane(held={"w1": 1.0, "s1": 0.5}), lambda: plane(held={"s1": 0.5}),
        lambda: plane(held={"w1": 1.0})),
    row("command_line/minibatches.py", "given with --checkpoints", lambda: of_minibatches("--resume step-1.npz"),
        lambda: of_minibatches("--resume step-1.npz --checkpoints kept")),
    row("command_line/minibatches.py", "left out where there is more than one run",
        lambda: of_minibatches("--resume step-1.npz --checkpoints kept --seeds 2"),
        lambda: of_minibatches("--checkpoints kept --seeds 2"),
        lambda: of_minibatches("--resume step-1.npz --checkpoints kept --seeds 1")),
    row("images/settings.py", ' "constant"',
        lambda: Pretraining(lr_last=0.1), lambda: Pretraining(), lambda: Pretraining(lr_last=0.1, schedule="cosine")),
    row("images/settings.py", 'it is of "patch"', lambda: Pretraining(readout="own"), lambda: Pretraining()),
    row("images/settings.py", "it is DINO's", lambda: Pretraining(local_views=2), lambda: Pretraining()),
    row("images/settings.py", "left out without teacher_warm_up", lambda: dino(teacher_start=0.01),
        lambda: dino(), lambda: dino(teacher_start=0.01, teacher_warm_up=1.0)),
]  # fmt: skip


def said(error):
    return " ".join(str(error).split())


@pytest.mark.parametrize("one", ROWS, ids=lambda one: f"{one.module}: {one.text}")
def test_what_is_advised_helps(one):
    with pytest.raises((SettingError, ValueError)) as refused:
        one.wrong()
    assert one.text in said(refused.value), refused.value
    for right in one.right:
        right()


def test_a_run_that_was_given_up_ends_with_a_larger_tolerance_or_another_method(monkeypatch):
    """linear: the limit is made so small that the tight run meets it, and what is advised does not."""
    from dynlab.linear import gradient_flow

    stiff, given = LinearModel(np.diag([1.0, 1e4])), {"W_p": np.eye(2), "until": 1.0}

    def evaluations(**options):
        count, rates = [0], gradient_flow.linear_flow_rates

        def counted(*state):
            count[0] += 1
            return rates(*state)

        with monkeypatch.context() as there:
            there.setattr(gradient_flow, "linear_flow_rates", counted)
            dynlab.simulate_linear(stiff, 0.01 * np.eye(2), **given, **options)
        return count[0]

    tight = {"method": "explicit", "rtol": 1e-12, "atol": 1e-15}
    ways = [tight | {"rtol": 1e-4, "atol": 1e-7}, tight | {"method": "implicit", "rtol": 1e-8}]
    most = max(evaluations(**way) for way in ways)
    assert most < evaluations(**tight)
    monkeypatch.setattr(gradient_flow, "MOST", most)
    with pytest.raises(RuntimeError, match="gave up at time .*: use a larger rtol or atol, or another method"):
        dynlab.simulate_linear(stiff, 0.01 * np.eye(2), **given, **tight)
    for way in ways:
        dynlab.simulate_linear(stiff, 0.01 * np.eye(2), **given, **way)


def test_a_level_is_given_with_refine(tmp_path):
    with pytest.raises(SettingError, match="level=None: must be given with refine for this measure"):
        mapped(tmp_path, refine=True)
    assert mapped(tmp_path, refine=True, level=1e6).frame is not None


def test_a_map_of_other_settings_or_sources_goes_into_another_folder(tmp_path, monkeypatch):
    from dynlab.maps import phase_map
    from dynlab.tools.files import FolderTaken

    mapped(tmp_path / "one")
    with pytest.raises(FolderTaken, match="this one has .*: give another folder"):
        mapped(tmp_path / "one", weak=0.4)
    mapped(tmp_path / "two", weak=0.4)
    with monkeypatch.context() as there:
        there.setattr(phase_map, "sources_key", lambda: "others")
        with pytest.raises(FolderTaken, match="other sources of dynlab: give another folder"):
            mapped(tmp_path / "one")
    mapped(tmp_path / "three")


SAVED = {"a": np.arange(3)}


def test_a_damaged_checkpoint_that_is_removed_leaves_the_one_that_is_named(tmp_path):
    for step in (4, 8):
        checkpoint.save(tmp_path, step, {"of": 1}, SAVED)
    last = tmp_path / "step-000000000008.npz"
    last.write_bytes(last.read_bytes()[:-7])
    with pytest.raises(checkpoint.CheckpointError, match="is damaged; remove it to go on from step-000000000004.npz$"):
        checkpoint.load(checkpoint.latest(tmp_path), {"of": 1})
    last.unlink()
    found = checkpoint.latest(tmp_path)
    assert found.name == "step-000000000004.npz" and checkpoint.load(found, {"of": 1})["a"].tolist() == [0, 1, 2]
    found.write_bytes(b"")
    with pytest.raises(checkpoint.CheckpointError, match="remove it to begin anew: there is none before it$"):
        checkpoint.load(found, {"of": 1})
    found.unlink()
    assert checkpoint.latest(tmp_path) is None


def test_a_checkpoint_of_other_settings_is_gone_on_with_by_those_or_left_in_its_folder(tmp_path):
    def run(folder, **changed):
        given = {"method": "sgd", "steps": 4, "dim": 6, "batch": 4, "every": 2, "checkpoints": tmp_path / folder}
        return simulated(**given | changed)

    run("one")
    with pytest.raises(checkpoint.CheckpointError, match="with other batch; give those of that run, or another folder"):
        run("one", batch=8)
    assert run("one").success and run("two", batch=8).success


@pytest.mark.parametrize(
    ("extra", "module"),
    [
        ("cuda", "machine/gpu.py"),
        ("dask", "command_line/executors.py"),
        ("arrays", "embeddings/arrays.py"),
        ("arrays", "tools/parquet.py"),
    ],
)
def test_what_is_to_be_installed_is_an_extra_of_this_distribution(extra, module):
    """By the name that it has on an index, where the name of the import is another project's."""
    said = [text for text in texts((PACKAGE / module).read_text(encoding="utf-8")) if "pip install" in text]
    assert len(said) == 1
    asked = re.search(r"pip install '([\w-]+)\[(\w+)\]'$", said[0])
    ours = importlib.metadata.metadata(asked[1])
    assert asked[2] == extra and extra in ours.get_all("Provides-Extra")
    assert asked[1] in importlib.metadata.packages_distributions()["dynlab"]


def test_dask_that_is_not_there_is_told_by_its_extra(monkeypatch):
    from dynlab.phase import executor

    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(SettingError, match=r"used with the extra dask: python -m pip install 'dynlab-ssl\[dask\]'$"):
        with executor("tcp://127.0.0.1:1"):
            pass


def test_what_makes_a_setting_smaller_is_a_smaller_value(monkeypatch):
    from dynlab.tools import checks

    monkeypatch.setattr(checks, "installed_memory", lambda: 2.0**20)
    with pytest.raises(SettingError, match=r"neurons=1000: must be smaller: a state of so many would take 0.0\d+ GiB"):
        OrderParameters.sample(Model(neurons=1000), 2000, 0)
    OrderParameters.sample(Model(neurons=10), 2000, 0)


def test_pictures_that_were_fetched_badly_are_deleted_and_fetched_anew(tmp_path):
    """The file that is named; nothing is deleted unasked."""
    from dynlab.images.data import download
    from dynlab.images.data.archives import DataError

    whole, fetched = b"as published", []
    remote = download.Remote("http://127.0.0.1", {"pictures.bin": __import__("hashlib").md5(whole).hexdigest()})

    def arrive(url, path, md5, patience, quiet):
        fetched.append(url)
        path.write_bytes(whole)

    with pytest.MonkeyPatch.context() as there:
        there.setattr(download, "_fetch_file", arrive)
        (tmp_path / "pictures.bin").write_bytes(b"half of it")
        with pytest.raises(DataError, match=r"pictures.bin: expected md5 \w+, found \w+ \(delete it to fetch it anew\)$"):
            download.fetch("set", tmp_path, remotes={"set": remote}, quiet=True)
        (tmp_path / "pictures.bin").unlink()
        download.fetch("set", tmp_path, remotes={"set": remote}, quiet=True)
    assert fetched == ["http://127.0.0.1/pictures.bin"] and (tmp_path / "pictures.bin").read_bytes() == whole


def test_options_that_explain_names_for_pictures_are_of_pretrain():
    """--head-decay and --head-lr in the facts, and the smaller rate that is to be tried first."""
    from dynlab.explanation import pictures
    from tests.explanation.test_pictures import DEMO

    for cause in pictures.causes(replace(DEMO, head_decay=1e-3, head_lr=0.1)):
        for option, value in re.findall(r"(--[a-z-]+) ([\d.e-]+)", cause.fact):
            name = option.removeprefix("--").replace("-", "_")
            assert getattr(pretraining(f"{option} {value}"), name) == float(value)
        assert all(hasattr(Pretraining, name) for name in cause.change)
    assert pretraining("--lr 0.0003").lr == 0.0003


@pytest.mark.parametrize("words", ["--try", "--head none", "--activation cubic"])
def test_what_explain_leaves_out_for_pictures(tmp_path, capsys, words):
    from dynlab import explain
    from tests.explanation.test_pictures import simple

    place = simple(tmp_path / "run", [9.0] * 8, [0.3] * 8)
    assert explain.main([str(place), *words.split()]) == 2
    assert "left out for a run on pictures" in capsys.readouterr().err
    assert explain.main([str(place)]) == 0


def test_the_folder_of_a_warning_is_explained(tmp_path, capsys):
    from dynlab import __main__
    from dynlab.images.training import run_folder
    from tests.explanation.test_pictures import DEMO, simple

    place = simple(tmp_path / "run", [1.1] * 8, [0.99] * 8)
    rows = run_folder.read(place).metrics.to_dict("records")
    run = SimpleNamespace(settings=DEMO, known=rows, step=8, quiet=False, folder=place, warned=False)
    run_folder.Run._warn(run)
    advised = re.search(r"^step 8: collapsed: .* \(dynlab (.*)\)$", capsys.readouterr().err)[1]
    assert __main__.main(shlex.split(advised)) == 0 and "COLLAPSED" in capsys.readouterr().out


def test_the_device_is_the_cpu_with_a_cluster(monkeypatch):
    from dynlab.machine.device import Device
    from dynlab.maps.grid import Grid

    words = "--x weak=0.1:0.9:2 --y eta-head=0.1:0.9:2 --dask tcp://127.0.0.1:1 --device"
    monkeypatch.setattr(Grid, "device", lambda self, asked: Device(asked, asked, asked))  # as where there is a device
    with pytest.raises(SettingError, match="device='cuda': must be cpu with --dask"):
        checked("phase", f"{words} cuda")
    assert checked("phase", f"{words} cpu").dask


def test_a_longer_horizon_is_an_option_of_run():
    from dynlab import run

    assert run.check(run.parser().parse_args(["--until", "1e30"])).until == 1e30


def test_a_setting_that_a_run_was_made_with_is_the_one_it_goes_on_with(tmp_path, monkeypatch):
    from dynlab import pretrain
    from dynlab.images.training import run_folder

    kept = pretraining("--recipe demo --batch 16")
    monkeypatch.setattr(run_folder, "settings_of", lambda place: kept)
    with pytest.raises(SettingError, match="batch=32: must be 16, as in the run that is resumed"):
        pretraining(f"--resume --out {tmp_path} --batch 32")
    assert pretraining(f"--resume --out {tmp_path} --batch 16") == kept
    call = pretrain.parser().call(["--resume"])
    with pytest.raises(SettingError, match="out=None: must be the folder of the run that --resume goes on with"):
        pretrain.run(call)


def test_what_is_to_be_done_about_an_ending_helps(monkeypatch):
    """waiting: a later end; not finite: a smaller rate; steps: less accuracy, or an earlier end."""
    from dynlab.population import simulate
    from dynlab.population.pair import flow
    from dynlab.population.starts import draw_start

    first = draw_start(Model(), 1000, 0, 0)
    with monkeypatch.context() as there:
        there.setattr(simulate, "own_horizon", lambda *_: 10.0)
        assert dynlab.simulate(Model(), first).status == "waiting"
        assert dynlab.simulate(Model(), first, until=1e10).events["first"] > 10.0
    fast = {"method": "descent", "steps": 9}
    assert dynlab.simulate(Model(), start(), eta=1e80, **fast).status == "not finite"
    assert dynlab.simulate(Model(), start(), eta=0.05, **fast).status == "until"

    def ended(most, **given):
        z, side = flow.encode(Model(), first)
        options = {"head_rate": 0.01, "settle": False, "max_steps": most, "until": 1e8, "rtol": 1e-6} | given
        found = flow.run_flow(Model(), z[None], side[None], **options)
        return int(found.steps[0] + found.rejected[0]), STATUS_NAMES[int(found.status[0])]

    needed = {
        how: ended(10**5, **given)[0] for how, given in (("", {}), ("less", {"rtol": 1e-3}), ("early", {"until": 1e3}))
    }
    assert max(needed["less"], needed["early"]) < needed[""]
    most = max(needed["less"], needed["early"]) + 1
    assert ended(most)[1] == "steps" and ended(most, rtol=1e-3)[1] == ended(most, until=1e3)[1] == "until"


def test_every_text_that_advises_is_followed_by_a_test():
    known = [(one.module, one.text) for one in ROWS]
    known += [("", part) for tests in FOLLOWED.values() for parts in tests.values() for part in parts]
    used, missing = set(), []
    for module, text in advice(PACKAGE):
        found = [key for key in known if key[0] in ("", module) and key[1] in text]
        used |= set(found)
        if not found and not any(part in text for part in NO_ADVICE):
            missing.append(f"{module}: {text}")
    assert missing == [], "\n".join(missing)
    assert set(known) - used == set(), "no longer in the sources"


def test_the_tests_that_are_named_are_there():
    for file, names in FOLLOWED.items():
        tree = ast.parse((Path(__file__).parents[1] / file).read_text(encoding="utf-8"))
        assert set(names) <= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, file


def test_an_advice_that_nobody_follows_is_noticed(tmp_path):
    source = 'def f(x):\n    """Give another."""\n    raise ValueError(f"{x}: use --other instead")\n'
    (tmp_path / "new.py").write_text(source)
    assert advice(tmp_path) == [("new.py", "{}: use --other instead")]
