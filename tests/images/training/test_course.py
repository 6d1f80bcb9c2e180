"""Schedules of a run, by values worked out by hand from the papers, and the step that uses them."""

import numpy as np
import pytest

from dynlab.images import layers
from dynlab.images.settings import Pretraining, pretraining
from dynlab.images.training import train
from dynlab.images.training.course import Course
from dynlab.tools.checks import SettingError
from tests.images import small


def course(epochs=10, **given):
    """Of 4 steps an epoch."""
    return Course(Pretraining(**given), 4, 4 * epochs)


def test_by_default_nothing_moves():
    found = course(weight_decay=0.01, head_lr=2.0)
    assert {(found.rate(k), found.head_rate(k), found.weight_decay(k), found.target_momentum(k)) for k in range(40)} == {
        (0.003, 0.006, 0.01, 0.99)
    }


def test_the_moving_average_is_byols():
    """Grill et al.: tau = 1 - (1 - tau_base) (cos(pi k/K) + 1)/2; a quarter of the way (cos + 1)/2 = (2 + sqrt 2)/4."""
    found = course(target="average", target_momentum=0.996, target_schedule="cosine", warm_up=5.0)  # of the rate alone
    assert found.target_momentum(0) == 0.996
    assert found.target_momentum(10) == pytest.approx(1.0 - 0.004 * 0.8535533905932737, rel=1e-14)
    assert found.target_momentum(20) == pytest.approx(0.998, rel=1e-14)
    assert 0.996 < found.target_momentum(39) < 1.0


def test_weight_decay_leads_from_one_to_the_other():
    """DINO's: from 0.04 to 0.4 along half a cosine, without the warm-up of the rate."""
    found = course(weight_decay=0.04, decay_schedule="cosine", decay_last=0.4, warm_up=5.0)
    assert [found.weight_decay(k) for k in (0, 20, 40)] == pytest.approx([0.04, 0.22, 0.4], rel=1e-12)


def test_the_rate_warms_up_and_leads_to_its_last():
    """Two epochs of four steps rise by eighths; of the 32 steps left, the middle is half-way to 0.1."""
    found = course(lr=0.5, schedule="cosine", lr_last=0.1, warm_up=2.0)
    assert [found.rate(k) for k in (0, 3, 7, 8, 24, 40)] == pytest.approx([0.0625, 0.25, 0.5, 0.5, 0.3, 0.1], rel=1e-12)


def test_steps_fall_at_their_milestones():
    """The paper's: a tenth from epoch 150 of 200 on."""
    found = Course(Pretraining(schedule="step", milestones=[0.75]), 10, 2000)
    assert [found.rate(k) for k in (0, 1499, 1500, 1999)] == pytest.approx([0.003, 0.003, 0.0003, 0.0003], rel=1e-12)
    found = course(schedule="step", milestones=(0.25, 0.5), drop=0.5, lr=0.8, lr_last=0.4)
    assert [found.rate(k) for k in (9, 10, 20)] == pytest.approx([0.8, 0.6, 0.5], rel=1e-12)


def test_the_predictor_keeps_its_rate():
    """Chen & He: the predictor's rate is fixed while the encoder's follows the cosine."""
    found = course(schedule="cosine", head_schedule="constant", head_lr=0.5)
    assert {found.head_rate(k) for k in range(40)} == {0.0015}
    assert found.rate(20) == pytest.approx(0.0015, rel=1e-12)


def test_a_step_takes_what_the_course_says():
    """Every part with its rate and decay, clipped together; the average with its momentum of that step."""
    given = {
        "batch": 16, "projector": (16, 8), "steps": 8, "encoder": "demo", "optimiser": "sgd", "momentum": 0.0, "lr": 0.2,
        "schedule": "cosine", "head_schedule": "constant", "head_lr": 0.5, "weight_decay": 0.1, "decay_schedule": "cosine",
        "decay_last": 0.3, "head_decay": 0.05, "target": "average", "target_momentum": 0.9, "target_schedule": "cosine",
        "gradient_clip": 0.05,
    }  # fmt: skip
    trainer = train.Trainer(Pretraining(**given), small.small_set(96, 0), layers)
    for step in range(4):
        trainer.step(step)
    before = {name: part.parameters.astype(float) for name, part in trainer.trained.items()}
    average = trainer.target.encoder.parameters.astype(float)
    trainer.step(4)
    norm = np.sqrt(sum(float((part.gradients.astype(float) ** 2).sum()) for part in trainer.trained.values()))
    assert norm == pytest.approx(0.05, rel=1e-5)  # clipped
    for name, part in trainer.trained.items():  # step 4 of 8: all cosines are half-way
        rate, decay = (0.1, 0.05) if name == "head" else (0.1, 0.2)
        wanted = before[name] - rate * (part.gradients + decay * part.decays * before[name])
        np.testing.assert_allclose(part.parameters, wanted, rtol=2e-6, atol=1e-7)
    wanted = 0.95 * average + 0.05 * trainer.networks.encoder.parameters
    np.testing.assert_allclose(trainer.target.encoder.parameters, wanted, rtol=2e-6, atol=1e-7)


def test_every_number_reaches_its_part():
    """What is given as a setting of pretraining is what the objective, the head and the optimiser compute with."""

    def made(**given):
        one = pretraining("demo", **({"batch": 16, "projector": (16, 8), "steps": 3} | given))
        return train.Trainer(one, small.small_set(96, 0), layers)

    assert made(loss="barlow-twins", barlow_weight=0.3).objective.settings.barlow_weight == 0.3
    assert made(loss="vicreg", vicreg_weights=[1, 2, 3]).objective.settings.vicreg_weights == (1.0, 2.0, 3.0)
    assert made(loss="simclr", temperature=0.07).objective.settings.temperature == 0.07
    dino = made(loss="dino", student_temperature=0.2, centre_momentum=0.5, teacher_temperature=0.06).objective
    assert (dino.settings.student_temperature, dino.settings.centre_momentum, dino.teacher_temperature) == (0.2, 0.5, 0.06)
    head = made(head="directpred", target="average", head_rho=0.5, head_eps=0.01, head_every=4).head
    assert (head.rho, head.eps, head.every) == (0.5, 0.01, 4)
    mover = made(optimiser="lars", lars_trust=0.02, lars_rate="clipped").optimisers["encoder"]
    assert (mover.trust, mover.clipped) == (0.02, True)


@pytest.mark.parametrize(
    "given, word",
    [
        ({"batch": 2, "normalisation": "batch"}, "batch=2: must be 3 pictures at least, where outputs are standardised"),
        ({"batch": 2, "decorrelation": 0.1}, "batch=2: must be 3 pictures at least"),
        ({"batch": 2, "projector_norm": "batch"}, "batch=2: must be 3 pictures at least"),
        ({"batch": 2, "loss": "barlow-twins", "head": "none", "stop_gradient": "none"}, "batch=2: must be 3 pictures"),
        ({"batch": 1}, "batch=1: must be an integer >= 2"),
        ({"vicreg_weights": (1.0, 2.0)}, "vicreg_weights=.*: must be three numbers"),
        ({"vicreg_weights": (1.0, -2.0, 0.0)}, "vicreg_weights=-2.0: must be"),
        ({"head_every": 2}, 'head_every=2: must be 1 with head "off-diagonal"'),
        ({"head_every": 0, "head": "directpred"}, "head_every=0: must be an integer >= 1"),
        ({"head_rho": 1.5}, "head_rho=1.5: must be"),
        ({"temperature": 0.0}, "temperature=0.0: must be a finite number > 0"),
        ({"lr_last": 0.001}, 'lr_last=0.001: must be left out with schedule "constant"'),
        ({"decay_last": 0.1}, "decay_last=0.1: must be left out with decay_schedule"),
        ({"target": "average", "target_last": 0.5}, "target_last=0.5: must be left out with target_schedule"),
        ({"target_schedule": "cosine"}, 'target_schedule=\'cosine\': must be "constant" with target "same"'),
        ({"head_schedule": "sine"}, "head_schedule='sine': must be one of"),
        ({"milestones": (0.8, 0.6)}, "milestones=.*: must be shares of the run"),
        ({"milestones": (0.5, 1.0)}, "milestones=.*: must be shares of the run"),
        ({"milestones": 0.5}, "milestones=0.5: must be shares of the run"),
        ({"drop": 0.0}, "drop=0.0: must be a finite number > 0"),
        ({"lars_trust": 0.0}, "lars_trust=0.0: must be a finite number > 0"),
        ({"lars_rate": "cut"}, "lars_rate='cut': must be one of scaled, clipped"),
        ({"gradient_clip": -1.0}, "gradient_clip=-1.0: must be a finite number >= 0"),
    ],
)
def test_what_is_refused(given, word):
    with pytest.raises(SettingError, match=word) as raised:
        Pretraining(**given)
    assert "\n" not in str(raised.value)


def test_settings_that_are_not_given_are_not_recorded():
    """run.json of a run with none of them is what it was before there were any."""
    names = set(Pretraining().plain())
    assert not names & {"side", "lars_trust", "milestones", "head_schedule", "target_last"}
    given = {"milestones": (0.75,), "schedule": "step", "gradient_clip": 1.0}
    plain = Pretraining(**given).plain()
    assert set(plain) == names | {"milestones", "gradient_clip"} and plain["milestones"] == [0.75]
    assert Pretraining(**plain) == Pretraining(**given)
