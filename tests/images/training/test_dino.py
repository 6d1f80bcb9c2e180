"""DINO whole: prototypes, local views, the layer that is frozen at first, the teacher's temperature; views of two kinds."""

import numpy as np
import pytest

from dynlab.images import layers
from dynlab.images.data import augment
from dynlab.images.data.pipelines import LOCAL_SCALE
from dynlab.images.settings import pretraining
from dynlab.images.training import train
from dynlab.tools.checks import SettingError
from tests.images import naive_losses as naive
from tests.images import small

TABLE = {"size": 12, "blur": 1.0, "second": {"blur": 0.0, "solarise": 1.0}, "local": {"size": 8, "grey": 0.5}}
DINO = {
    "loss": "dino", "batch": 16, "projector": (16, 8), "steps": 24, "prototypes": 10, "local_views": 3,
    "augmentation": TABLE,
}  # fmt: skip


def trainer_of(dtype="float32", **given):
    return train.Trainer(pretraining("demo", **(DINO | given)), small.small_set(96, 0), layers, dtype)


def test_views_are_drawn_by_their_own_pipelines():
    trainer = trainer_of()
    trainer._views(7)  # the second epoch, its second batch
    chosen = trainer.order[16:32]
    lines = trainer.pipelines
    assert (lines.first.blur, lines.second.blur, lines.first.solarise, lines.second.solarise) == (1.0, 0.0, 0.0, 1.0)
    assert (lines.local.size, lines.local.scale, lines.local.grey, lines.local.blur) == (8, LOCAL_SCALE, 0.5, 1.0)
    wanted = [(trainer.x[:16], lines.first, 0), (trainer.x[16:], lines.second, 1)]
    wanted += [(trainer.local_x[16 * i : 16 * (i + 1)], lines.local, 2 + i) for i in range(3)]
    for part, settings, view in wanted:
        right = augment.augment(trainer.pictures, chosen, settings, 0, 1, view, np.empty(part.shape, np.float32))
        np.testing.assert_array_equal(part, right)


def in_double(trainer):
    """Views in double precision, drawn once, as the gradient's check needs them."""
    singles = np.empty(trainer.x.shape, np.float32), np.empty(trainer.local_x.shape, np.float32)
    trainer.x, trainer.local_x = singles
    trainer._views(0)
    trainer.x, trainer.local_x = (one.astype(np.float64) for one in singles)
    trainer._views = lambda step: None
    return trainer


class Still:
    """An optimiser that moves nothing."""

    def step(self, parameters, gradients, rate):
        pass


@pytest.mark.parametrize("count", [10, None])
def test_gradient_of_a_whole_step(count):
    """Loss by loops over all pairs of views, its change along the gradient of each part by differences."""
    trainer = in_double(trainer_of("float64", prototypes=count, target_momentum=0.5))
    trainer.objective.state["centre"][:] = 0.02 * np.arange(count or 8)
    trainer.optimisers = {name: Still() for name in trainer.optimisers}
    shift = np.random.default_rng(0)
    for network in trainer.target.parts().values():
        network.parameters += 0.1 * shift.normal(size=network.parameters.shape)
    goal = trainer.target.forward(trainer.x, groups=2)[1].copy()
    if count:
        trainer.target_head.parameters += 0.1 * shift.normal(size=trainer.target_head.parameters.shape)
        goal = naive.prototypes(goal, trainer.target_head.matrix)
    centre = trainer.objective.state["centre"].copy()

    def slow():
        z = np.vstack([
            trainer.networks.forward(trainer.x, groups=2)[1],
            (trainer.local.follow(trainer.networks), trainer.local.forward(trainer.local_x, groups=3)[1])[1],
        ])  # fmt: skip
        online = naive.prototypes(z, trainer.head.matrix) if count else z
        return naive.dino_crops(online, goal, centre, 0.1, 0.04)

    expected = slow()
    trainer.step(0)
    assert trainer.objective.loss() == pytest.approx(expected, rel=1e-10)
    assert set(trainer.trained) == {"encoder", "projector"} | ({"prototypes"} if count else set())
    for name, part in trainer.trained.items():
        slope, start = part.gradients.copy(), part.parameters.copy()
        length = float(np.linalg.norm(slope))
        values = []
        for sign in (1.0, -1.0):
            part.parameters[:] = start + sign * 1e-6 * slope / length
            values.append(slow())
        part.parameters[:] = start
        assert (values[0] - values[1]) / 2e-6 == pytest.approx(length, rel=1e-5), name


def test_the_last_layer_is_frozen_at_first_and_the_teacher_follows():
    """Two of four epochs of six steps, by decays and gradients alike."""
    trainer = trainer_of(freeze_prototypes=2.0, optimiser="adamw", weight_decay=0.1, target_momentum=0.5, gradient_clip=0.1)
    first = trainer.head.parameters.copy()
    for step in range(12):
        trainer.step(step)
        for one in (trainer.head, trainer.target_head):
            np.testing.assert_array_equal(one.parameters, first)
    assert trainer.optimisers["prototypes"].count == 0
    trainer.step(12)
    moved = trainer.head.parameters - first
    assert np.abs(moved).max() > 1e-4
    np.testing.assert_allclose(trainer.target_head.parameters, first + 0.5 * moved, atol=1e-7)


def test_the_teacher_warms_up():
    """From 0.04 to 0.07 over two epochs of six steps."""
    trainer = trainer_of(teacher_start=0.04, teacher_temperature=0.07, teacher_warm_up=2.0)
    seen = []
    for step in (0, 6, 12, 20):
        trainer.step(step)
        seen.append(trainer.objective.teacher_temperature)
    assert seen == pytest.approx([0.04, 0.055, 0.07, 0.07], rel=1e-13)


def test_a_run_goes_on_from_its_checkpoint():
    given = {"freeze_prototypes": 1.0, "optimiser": "adamw", "teacher_start": 0.05, "teacher_warm_up": 3.0}
    first, second = (trainer_of(**given) for _ in range(2))
    for step in range(7):
        first.step(step)
    second.restore(first.state())
    for step in range(7, 9):
        first.step(step)
        second.step(step)
    here, there = first.state(), second.state()
    assert here.keys() == there.keys() and {"head/parameters", "target_head/parameters"} <= set(here)
    assert all(np.array_equal(value, there[name]) for name, value in here.items())
    assert first.measure(8).keys() and first.weights()["head_parameters"].size == 80


@pytest.mark.parametrize(
    "given, word",
    [
        ({"prototypes": 1}, "prototypes=1: must be an integer >= 2"),
        ({"prototypes": 10**12}, "prototypes=1000000000000: must be smaller"),
        ({"local_views": -1}, "local_views=-1: must be an integer >= 0"),
        ({"local_views": 10**9, "prototypes": None}, "local_views=1000000000: must be smaller"),
        ({"loss": "simclr", "local_views": 0}, "prototypes=10: must be left out with loss"),
        ({"loss": "simclr", "prototypes": None}, "local_views=3: must be left out with loss"),
        ({"prototypes": None, "freeze_prototypes": 1.0}, "freeze_prototypes=1.0: must be 0 without prototypes"),
        ({"teacher_start": 0.04}, "teacher_start=0.04: must be left out without teacher_warm_up"),
        ({"teacher_start": 0.0, "teacher_warm_up": 1.0}, "teacher_start=0.0: must be a finite number > 0"),
        ({"teacher_temperature": 0.0}, "teacher_temperature=0.0: must be a finite number > 0"),
        ({"student_temperature": 0.0}, "student_temperature=0.0: must be a finite number > 0"),
        ({"centre_momentum": 1.5}, "centre_momentum=1.5: must be a finite number >= 0"),
    ],
)
def test_what_is_refused(given, word):
    with pytest.raises(SettingError, match=word) as raised:
        pretraining("demo", **(DINO | given))
    assert "\n" not in str(raised.value)
