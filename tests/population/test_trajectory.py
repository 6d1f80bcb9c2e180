"""A trajectory survives the disk to the last bit, and shows what it holds under the promised names."""

import copy
import dataclasses
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import dynlab
from dynlab.population import moments
from dynlab.population.starts import draw_start
from dynlab.population.trajectory import Trajectory, when_asked
from dynlab.settings.model import Model
from tests.population.synthetic import four_phases

ARRAYS = ("time", "signal", "noise_gram", "head", "loss")
NUMBERS = st.floats(allow_nan=True, allow_infinity=True)


@st.composite
def trajectories(draw):
    """Any numbers that float64 holds, nan and infinities too, for one to three neurons and features."""
    m, k, n = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 4))
    strengths = draw(st.lists(st.floats(1e-3, 1e3), min_size=k, max_size=k))
    model = Model(strengths=sorted(strengths, reverse=True), neurons=m)
    head = draw(arrays(float, (n, m, m), elements=NUMBERS))
    head[:, np.arange(m), np.arange(m)] = 1.0
    times = st.floats(0, allow_infinity=False, allow_nan=False)
    return Trajectory(
        model=model,
        settings={"head": "off-diagonal", "eta_head": draw(st.floats(0, 10)), "until": None},
        time=np.sort(draw(arrays(float, n, elements=times))),
        signal=draw(arrays(float, (n, m, k), elements=NUMBERS)),
        noise_gram=draw(arrays(float, (n, m, m), elements=NUMBERS)),
        head=head,
        loss=draw(arrays(float, n, elements=NUMBERS)),
        events={"first": draw(st.floats(0, 1e300)), "second": math.nan},
        status="until",
        steps=draw(st.integers(0, 10**9)),
        rejected=0,
    )


def same(one, other):
    """Whether two trajectories agree in every bit of every array and in all the rest."""
    rest = [f.name for f in dataclasses.fields(Trajectory) if f.name not in (*ARRAYS, "events")]
    bits = all(np.array_equal(getattr(one, a), getattr(other, a), equal_nan=True) for a in ARRAYS)
    events = {e: repr(t) for e, t in one.events.items()} == {e: repr(t) for e, t in other.events.items()}
    return bits and events and all(getattr(one, name) == getattr(other, name) for name in rest)


@given(trajectories())
def test_save_and_load_give_back_every_bit(tmp_path_factory, run):
    path = tmp_path_factory.mktemp("trajectory") / "run.csv"
    run.save(path)
    assert same(Trajectory.load(path), run)
    assert [p.name for p in path.parent.iterdir()] == ["run.csv"]


def test_the_comparison_notices_the_last_bit(tmp_path):
    run = four_phases()
    for name in ARRAYS[1:]:
        changed = np.array(getattr(run, name))
        index = {1: (5,), 3: (5, 0, 1)}[changed.ndim]
        changed[index] = np.nextafter(changed[index], 9.0)
        assert not same(dataclasses.replace(run, **{name: changed}), run), name


def test_equal_runs_give_equal_bytes(tmp_path):
    for name in ("one.csv", "two.csv"):
        four_phases().save(tmp_path / name)
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
    assert b"\r" not in (tmp_path / "one.csv").read_bytes()


def test_the_frame_has_the_promised_columns():
    columns = ["time", "loss", "signal_1_1", "signal_1_2", "signal_2_1", "signal_2_2"]
    columns += ["noise_1_1", "noise_1_2", "noise_2_2", "head_1_2", "head_2_1"]
    run = four_phases()
    assert list(run.frame) == columns
    assert np.array_equal(run.frame["head_2_1"], run.head[:, 1, 0])
    assert np.array_equal(run.frame["signal_1_2"], run.signal[:, 0, 1])


def test_cosines_by_a_loop():
    run = four_phases()
    for i in (0, len(run.time) // 2, -1):
        for j in range(2):
            square = run.signal[i, j, 0] ** 2 + run.signal[i, j, 1] ** 2 + run.noise_gram[i, j, j]
            for l in range(2):
                assert run.cosines[i, j, l] == pytest.approx(run.signal[i, j, l] ** 2 / square, rel=1e-14)


def by_hand(weak, noise_gram, noise):
    """Four times; neuron 1 on v_1 = (1, 0), neuron 2 on (1, A) with these A; strengths 1 and 1/2."""
    signal = np.zeros((4, 2, 2))
    signal[:, 0, 0] = signal[:, 1, 0] = 1.0
    signal[:, 1, 1] = weak
    gram = np.tile(np.diag([noise_gram, noise_gram]), (4, 1, 1))
    return Trajectory(
        model=Model(strengths=(1.0, 0.5), noise=noise), settings={}, time=np.arange(4.0), signal=signal, noise_gram=gram,
        head=np.tile(np.eye(2), (4, 1, 1)), loss=np.zeros(4), events={}, status="until", steps=3, rejected=0,
    )  # fmt: skip


def test_carried_times_by_hand():
    """Without noise parts v_2 carries x/(1 + x), x = (A/2)^6, of cubic output 2: 4.46 % at A = 1.2, 5.63 % at A = 1.25."""
    run = by_hand([0.1, 1.2, 1.25, 2.0], 0.0, 0.5)
    share = [0.5**6 * a**6 / (1.0 + 0.5**6 * a**6) for a in (0.1, 1.2, 1.25, 2.0)]
    np.testing.assert_allclose(run.carried[:, 1, 1], share, rtol=1e-13)
    assert share[1] < 0.05 < share[2] and run.carried_times.tolist() == [0.0, 2.0]
    never = by_hand([0.1, 0.2, 0.3, 1.2], 0.0, 0.5).carried_times
    assert never[0] == 0.0 and np.isnan(never[1])


def test_with_little_noise_outputs_carry_what_weights_are_not_aligned_with():
    """Noise parts ten times as long as the signal: squared cosines below 1/50 at all times, features carried at all."""
    run = by_hand([2.0] * 4, 100.0, 1e-3)
    assert run.cosines.max() < 0.05 and run.carried.sum(-1).min() > 0.99
    assert run.carried_times.tolist() == [0.0, 0.0]


def test_final_is_the_last_state():
    run = four_phases()
    final = run.final
    assert np.array_equal(final.signal, run.signal[-1])
    assert np.array_equal(final.noise_gram, run.noise_gram[-1])
    assert np.array_equal(final.head, run.head[-1])


def test_the_arrays_cannot_be_changed():
    run = four_phases()
    for one in (run, asked_later(run, [])):
        for name in ARRAYS:
            with pytest.raises(ValueError, match="read-only"):
                getattr(one, name)[0] = 1.0


def asked_later(run, asked):
    """The run with losses that note in `asked` when they are computed."""

    def losses(values):
        asked.append(len(values))
        return 2.0 * values

    return dataclasses.replace(run, loss=when_asked(losses, run.loss))


def test_losses_are_computed_once_and_only_when_asked_for(tmp_path):
    run, asked = four_phases(), []
    one = asked_later(run, asked)
    assert repr(one) and one.final and one.success and len(one.cosines) == len(run.time) and not asked
    np.testing.assert_array_equal(one.loss, 2.0 * run.loss)
    assert one.loss is one.loss and asked == [len(run.time)]
    with pytest.raises(AttributeError, match="'Trajectory' object has no attribute 'lass'"):
        _ = one.lass


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda run: pickle.loads(pickle.dumps(run)), dataclasses.replace]
)
@pytest.mark.parametrize("asked", [False, True])
def test_a_copy_has_the_losses_too(copied, asked):
    model = Model()
    run = dynlab.simulate(model, draw_start(model, 1000, 0, 0), until=1e6)
    right = moments.losses(model, run.signal, run.noise_gram, run.head)
    assert not asked or len(run.loss)
    for one in (copied(run), run):
        np.testing.assert_allclose(one.loss, right, rtol=1e-14)
        assert list(one.frame["loss"]) == list(one.loss)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"signal": np.zeros((3, 2, 2))}, "signal: shape"),
        ({"time": lambda run: run.time[::-1]}, "time: must"),
        ({"head": lambda run: 2 * run.head}, "head: the diagonal must be 1"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change, message):
    run = four_phases()
    change = {name: value(run) if callable(value) else value for name, value in change.items()}
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(run, **change)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: "time,loss\n0,1\n",
        lambda text: text.replace('"steps"', '"stops"', 1),
        lambda text: text.replace("signal_1_2", "signal_9_2", 1),
        lambda text: text[: len(text) // 2].rsplit(",", 1)[0] + ",x\n",
        lambda text: text.replace('"patches": 16', '"patches": 15'),
    ],
)
def test_a_damaged_file_is_one_line_of_error(tmp_path, damage):
    path = tmp_path / "run.csv"
    four_phases().save(path)
    path.write_text(damage(path.read_text()))
    with pytest.raises(ValueError, match=r"run\.csv: is ") as error:
        Trajectory.load(path)
    assert "\n" not in str(error.value)
