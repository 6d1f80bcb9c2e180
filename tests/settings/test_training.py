"""`Training`: what it takes, what it refuses and in which words."""

import pytest

from dynlab import Model, SettingError, Training, ensemble, simulate
from dynlab.population.order_parameters import OrderParameters

REFUSED = [
    ({"head": "offdiagonal"}, "head", "one of none, off-diagonal"),
    ({"eta_head": -0.1}, "eta_head", ">= 0"),
    ({"target": "ema"}, "target", "one of same, average"),
    ({"target_rate": 0.0}, "target_rate", "> 0"),
    ({"stop_gradient": "both"}, "stop_gradient", "one of target, online, none"),
    ({"target": "average", "stop_gradient": "none"}, "stop_gradient", "which no gradient trains"),
    ({"normalisation": "layer"}, "normalisation", "one of batch"),
    ({"objective": "vicreg"}, "head", "two views are treated alike"),
    ({"objective": "vicreg", "head": "none"}, "stop_gradient", "two views are treated alike"),
    ({"head": "fixed"}, "head_matrix", 'a matrix with head "fixed"'),
    ({"head": "none", "head_matrix": ((1, 0), (0, 1))}, "head_matrix", "left out"),
    ({"head": "off-diagonal", "head_matrix": ((2, 0), (0, 1))}, "head_matrix", "unit diagonal"),
    ({"head": "symmetric", "head_matrix": ((1, 0.5), (0, 1))}, "head_matrix", "symmetric"),
    ({"head": "linear", "head_matrix": ((1, 0),)}, "head_matrix", "a square matrix"),
    ({"head": "linear", "head_matrix": (("a", 0), (0, 1))}, "head_matrix", "a square matrix"),
    ({"weight_decay": float("nan")}, "weight_decay", ">= 0"),
    ({"symmetric": 1}, "symmetric", "True or False"),
    ({"vicreg_weights": (1, 2)}, "vicreg_weights", "three numbers"),
]


@pytest.mark.parametrize(("settings", "name", "allowed"), REFUSED)
def test_refused_in_one_line(settings, name, allowed):
    with pytest.raises(SettingError) as caught:
        Training(**settings)
    assert caught.value.name == name
    assert allowed in str(caught.value) and "\n" not in str(caught.value)


def test_unit_length_has_a_closed_form_only_without_noise():
    training = Training(normalisation="length")
    training.check_model(Model(noise=0.0))
    with pytest.raises(SettingError, match="only without noise"):
        ensemble(Model(), seeds=1, training=training)


def test_a_head_of_the_wrong_size_is_refused():
    training = Training(head="fixed", head_matrix=((1, 0, 0), (0, 1, 0), (0, 0, 1)))
    with pytest.raises(SettingError, match="head_matrix"):
        ensemble(Model(), seeds=1, training=training)


def test_it_is_hashable_and_tells_what_was_changed():
    assert Training().changed() == {}
    training = Training(head="linear", head_matrix=[[1, 0], [0, 2]], weight_decay=1e-3)
    assert hash(training) == hash(Training(head="linear", head_matrix=((1.0, 0.0), (0.0, 2.0)), weight_decay=1e-3))
    assert training.changed() == {"head": "linear", "head_matrix": [[1.0, 0.0], [0.0, 2.0]], "weight_decay": 1e-3}


def test_which_training_is_the_papers():
    assert Training().is_papers and Training(head="none").is_papers and Training(eta_head=1.0, symmetric=True).is_papers
    for changed in ({"head": "linear"}, {"normalisation": "none"}, {"weight_decay": 1e-9}, {"target": "average"}):
        assert not Training(**changed).is_papers


def test_too_many_neurons_for_a_flow_are_refused():
    with pytest.raises(SettingError, match="2500 coordinates of the flow"):
        ensemble(Model(neurons=64, strengths=(1.0,) * 16), seeds=1)
    with pytest.raises(SettingError, match="1000 coordinates of the flow"):
        ensemble(Model(neurons=32, strengths=(1.0,) * 8, activation="relu"), seeds=1)


def test_head_and_rate_are_given_once():
    with pytest.raises(SettingError, match="left out with training"):
        ensemble(Model(), seeds=1, head="none", training=Training())
    start = OrderParameters([[0.1, 0.2], [0.2, 0.1]], [[1.0, 0.0], [0.0, 1.0]])
    with pytest.raises(SettingError, match="left out with training"):
        simulate(Model(), start, eta_head=0.5, training=Training())
