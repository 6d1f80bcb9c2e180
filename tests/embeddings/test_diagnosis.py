"""The numbers of a diagnosis against loops, at every scale and offset; its verdicts; input that is refused."""

from __future__ import annotations

import json
import math
import warnings

import numpy as np
import pytest

import dynlab
from dynlab import SettingError
from dynlab.embeddings import diagnosis, given, passes, remarks, standing
from dynlab.embeddings.head_phase import head_state
from dynlab.images import losses
from dynlab.images.worth.spectrum import shape
from dynlab.tools.files import FolderError
from tests.embeddings import naive_embeddings as naive


def cloud(n=70, m=5, seed=0, dtype=np.float64):
    """Correlated rows."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((n, m)) @ rng.standard_normal((m, m)) + 0.3).astype(dtype)


@pytest.fixture(params=["at once", "in blocks of float32"])
def way(request, monkeypatch):
    """(relative accuracy) of both ways of summing: all in float64, and rows in small blocks, float32 in float32."""
    if request.param == "at once":
        return 1e-9
    monkeypatch.setattr(passes, "EXACT", 0)
    monkeypatch.setattr(given, "BLOCK", 16 * 5)
    return 2e-5


def compare(found, z, accuracy):
    """With the loops."""
    z = np.asarray(z, dtype=np.float64)
    rank, covariance_rank, singular_rank, correlation = naive.ranks(z)
    assert found.rank == pytest.approx(rank, rel=accuracy)
    assert found.covariance_rank == pytest.approx(covariance_rank, rel=accuracy)
    assert found.singular_rank == pytest.approx(singular_rank, rel=100 * accuracy)  # roots of what rounding leaves
    assert found.mean_abs_correlation == pytest.approx(correlation, rel=10 * accuracy)
    assert found.unit_sd == pytest.approx(naive.unit_sd(z), rel=10 * accuracy, abs=accuracy)
    assert found.uniformity == pytest.approx(naive.uniformity(z), rel=1e-6, abs=1e-9)
    assert found.pairs == len(z) * (len(z) - 1) // 2


def test_the_command_is_the_function():
    """dynlab.diagnose is the command's module, and calling it calls the function."""
    z = np.random.default_rng(0).standard_normal((50, 4))
    assert dynlab.diagnose(z).rank == diagnosis.diagnose(z).rank > 3.0
    assert dynlab.diagnose.PROGRAM == "dynlab.diagnose"


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("scale", [1e-30, 1e-10, 1.0, 1e10, 1e30])
def test_numbers_are_those_of_loops_at_every_scale(way, scale, dtype):
    z = (cloud() * scale).astype(dtype)
    compare(dynlab.diagnose(z), z, way if dtype == np.float32 else 1e-9)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_offsets_of_ten_thousand_deviations_lose_nothing(way, dtype):
    """The loops see the numbers as they were rounded to float32, and so does the diagnosis."""
    z = cloud()
    z = (z / z.std(0) + 1e4 * np.array([1.0, -1.0, 1.0, 2.0, 0.0])).astype(dtype)
    compare(dynlab.diagnose(z), z, way if dtype == np.float32 else 1e-7)


def test_columns_of_different_scales(way):
    z = cloud() * np.array([1e-30, 1e-10, 1.0, 1e10, 1e30])
    found = dynlab.diagnose(z)
    assert found.rank == pytest.approx(naive.ranks(z / z.std(0))[0], rel=1e-9)
    assert found.covariance_rank == pytest.approx(1.0, abs=1e-12) and found.spectrum[0] == pytest.approx(1.0)


def test_rows_of_different_scales(way):
    """A row keeps its direction, however small it is beside the others."""
    z = (cloud() * np.logspace(-25, 25, 70)[:, None]).astype(np.float32)
    found = dynlab.diagnose(z)
    assert found.unit_sd == pytest.approx(naive.unit_sd(z.astype(float)), rel=1e-5)
    assert found.uniformity == pytest.approx(naive.uniformity(z.astype(float)), rel=1e-5)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.float16, ">f4", ">i2"])
def test_integers_and_halves_are_taken(dtype):
    z = (10.0 * cloud() + 60.0).clip(0, 120).astype(dtype)
    compare(dynlab.diagnose(z), z.astype(float), 1e-9)


def test_the_numbers_of_pictures_are_the_same():
    """One definition of ranks, correlations and constant outputs for runs on pictures and for embeddings."""
    z = cloud(300, 12, dtype=np.float32)
    z[:, 3] = 0.1
    found, known = dynlab.diagnose(z), shape(z)
    assert (found.dead, known.dead) == (1, 1)
    for name in ("rank", "covariance_rank", "singular_rank", "mean_abs_correlation"):
        assert getattr(found, name) == pytest.approx(getattr(known, name), rel=1e-9)
    whole = np.array(known.spectrum)
    np.testing.assert_allclose(found.spectrum, whole / whole.sum(), atol=1e-12)


@pytest.mark.parametrize("offset", [0.0, 1.0, 30.0, 1e4])
def test_what_a_softmax_does_not_see(way, offset):
    """Rank and correlation of rows less their means, also where these hold nearly all of the energy."""
    z = cloud(400, 5)
    z = (z + offset * np.random.default_rng(1).standard_normal((400, 1))).astype(np.float32)
    found, known = dynlab.diagnose(z), shape(losses.seen("dino", z))
    accuracy = 1e-6 if offset == 1e4 else 100 * way  # beyond 99 % of the energy another pass takes the means off first
    assert found.row_rank == pytest.approx(known.rank, rel=accuracy)
    assert found.row_correlation == pytest.approx(known.mean_abs_correlation, rel=accuracy)
    share = 5 * z.astype(float).mean(1).var() / z.astype(float).var(0).sum()
    assert found.row_share == pytest.approx(share, rel=10 * way)
    assert ("Offset of rows" in found.text) == (share >= remarks.UNSEEN or known.rank < 2.0)


def test_alignment_and_uniformity_by_hand():
    """Two directions at right angles: |u - u'|^2 = 2; of 4 rows, two of each, 4 of 6 pairs differ: (2 + 4 e^-4)/6."""
    z = np.array([[1.0, 0.0], [0.0, 3.0], [5.0, 0.0], [0.0, 1e-9]])
    assert dynlab.diagnose(z, target=z).alignment == 0.0
    assert dynlab.diagnose(z, target=z[:, ::-1]).alignment == pytest.approx(2.0)
    assert dynlab.diagnose(z, target=-2.0 * z).alignment == pytest.approx(4.0)
    assert dynlab.diagnose(z).uniformity == pytest.approx(math.log((2.0 + 4.0 * math.exp(-4.0)) / 6.0))
    a, b = cloud(30, 4, 1), cloud(30, 4, 2)
    assert dynlab.diagnose(a, target=b).alignment == pytest.approx(naive.alignment(a, b))
    assert math.isnan(dynlab.diagnose(a).alignment)


def test_many_rows_are_compared_at_spread_places(monkeypatch):
    monkeypatch.setattr(passes, "SPREAD", 10)
    z = cloud(91, 4)
    found = dynlab.diagnose(z)
    assert found.pairs == 45 and found.uniformity == pytest.approx(naive.uniformity(z[::10]))


def test_rows_that_drift_are_centred_where_they_are(monkeypatch, way):
    """The centre is that of spread rows alone, and the sums know how far it is from the mean."""
    monkeypatch.setattr(passes, "SPREAD", 3)
    z = (cloud(95) + np.where(np.arange(95)[:, None] == 94, 80.0, 0.0) * np.arange(1, 6)).astype(np.float32)
    found = dynlab.diagnose(z)
    rank, covariance_rank, _, correlation = naive.ranks(z.astype(float))
    assert (found.rank, found.covariance_rank) == pytest.approx((rank, covariance_rank), rel=100 * way)
    assert found.mean_abs_correlation == pytest.approx(correlation, rel=100 * way)
    assert found.unit_sd == pytest.approx(naive.unit_sd(z.astype(float)), rel=100 * way)


def rotated(m, angle):
    """The identity with a turn in the first two outputs: off-diagonal entries +-sin."""
    head = np.eye(m)
    head[:2, :2] = [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]
    return head


def test_a_head_by_hand():
    found = head_state(rotated(4, 0.5)[None])
    assert found.norm == pytest.approx(math.sqrt(2) * math.sin(0.5)) and found.asymmetry == pytest.approx(
        2.0 / math.sqrt(2) * math.sqrt(2)
    )
    assert found.diagonal == pytest.approx(1.0 - math.cos(0.5))
    assert found.lent == pytest.approx(2 * math.sin(0.5) ** 2 / 4.0) and found.trend == ""
    assert "one matrix does not tell" in found.phase and "not the paper's head" in found.phase
    assert "the start (phase I) or the end (IV)" in head_state(np.eye(3)[None]).phase


PAST = {
    "rising": ([0.0, 0.1, 0.2, 0.4, 0.6, 0.8], "phase II, substitution"),
    "steady": ([0.0, 0.5, 0.8, 0.81, 0.8, 0.8], "phase III"),
    "falling": ([0.0, 0.5, 1.0, 1.0, 0.8, 0.5], "phase IV, return"),
    "rising again": ([0.0, 1.0, 1.0, 0.2, 0.2, 0.8], "phase II once more"),
    "near the identity": ([0.0, 0.5, 1.0, 1.0, 0.5, 0.05], "the end of phase IV"),
}


@pytest.mark.parametrize("trend", PAST)
def test_a_stack_of_heads_tells_its_phase(trend):
    sizes, words = PAST[trend]
    corner = np.zeros((4, 4))
    corner[1, 0] = 1.0
    found = head_state(np.eye(4) + np.array(sizes)[:, None, None] * corner)
    assert found.trend == trend and found.phase.startswith(words) and "likeness" not in found.phase
    assert head_state(np.eye(4) + 0.01 * np.array(sizes)[:, None, None] * corner).phase.startswith("phase I:")


def collapsed(n=200, m=8):
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, 1)) * np.ones(m) + 1e-2 * rng.standard_normal((n, m))


def wide(n=400, m=8):
    return np.random.default_rng(0).standard_normal((n, m))


def half(n=400, m=8):
    """Two directions and some noise: between the bounds."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, 2)) @ rng.standard_normal((2, m)) + 0.3 * rng.standard_normal((n, m))


VERDICTS = {
    "collapsed": (collapsed(), "COLLAPSED", "rank below 2 or correlation above 0.8"),
    "healthy": (wide(), "NO COLLAPSE", "rank from 3 on and correlation up to 0.6"),
    "unclear": (half(), "UNCLEAR", "between"),
    "one direction": (wide() + 1e3, "ONE DIRECTION", "a tenth of 1/sqrt(8)"),
    "constant": (np.full((50, 4), 0.3), "COLLAPSED", "every output is the same for all rows"),
    "zeros": (np.zeros((50, 4)), "COLLAPSED", "every output is the same for all rows"),
    "two rows": (wide(2), "UNCLEAR", "2 rows are too few to tell"),
    "one output": (wide(50, 1), "UNCLEAR", "one output has no rank"),
    "two outputs": (wide(400, 2), "NO COLLAPSE", "rank from 1.5 on"),
    "three alike": (collapsed(100, 3), "COLLAPSED", "rank below 1.5"),
}


@pytest.mark.parametrize("name", VERDICTS)
def test_verdicts_and_their_bounds(name):
    z, words, bound = VERDICTS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = dynlab.diagnose(z)
        said = " ".join(found.text.split())
        found.plot()
    assert words in said and bound in said and max(map(len, found.text.splitlines())) <= remarks.WIDTH
    assert json.loads(json.dumps(found.as_json(), allow_nan=False))["verdict"] == found.verdict
    assert repr(found).startswith("EmbeddingDiagnosis(") and "<pre>" in found._repr_html_()


def test_what_is_to_be_changed_first():
    """Without a head: a head; with one that lends nothing: its rate; with one that lends: the stop, then the rate."""
    z = collapsed()
    first = [dynlab.diagnose(z, head) for head in (None, np.eye(8), rotated(8, 1.0))]
    assert [remarks.changes(one)[0] for one in first] == [remarks.HEAD, remarks.FASTER, remarks.STOP]
    assert remarks.changes(dynlab.diagnose(wide() + 1e3)) == [remarks.CENTRE]
    healthy = dynlab.diagnose(wide(), np.eye(8))
    assert remarks.changes(healthy) == [] and "Nothing needs changing" in healthy.text
    assert "Change first" not in dynlab.diagnose(half()).text


def test_the_record_of_a_verdict_is_told():
    for verdict, (right, total, _) in standing.RIGHT.items():
        assert verdict in standing.WORDS and 0 <= right <= total
    said = " ".join(dynlab.diagnose(collapsed()).text.split())
    right, total, what = standing.RIGHT["collapsed"]
    assert f"of {total} runs on pictures with this verdict, {right} {what}" in said


def test_a_stack_of_steps_is_followed_to_its_last():
    stack = np.stack([wide(200), half(200), collapsed(200)])
    found = dynlab.diagnose(stack, head=np.stack([np.eye(8)] * 3), target=stack)
    alone = [dynlab.diagnose(z) for z in stack]
    assert found.steps == 3 and found.verdict == "collapsed" and found.alignment == 0.0
    assert found.ranks == pytest.approx([one.rank for one in alone])
    assert found.correlations == pytest.approx([one.mean_abs_correlation for one in alone])
    assert "Over the steps: rank" in found.text and "phase I:" in found.text


def test_labels_ask_the_nearest_neighbours():
    rng = np.random.default_rng(0)
    classes = rng.integers(3, size=300)
    z = np.eye(3)[classes] + 0.05 * rng.standard_normal((300, 3))
    found = dynlab.diagnose(z, labels=np.array(["cat", "dog", "owl"])[classes])
    assert found.knn.correct == found.knn.total == 60 and "1.000 right" in found.text
    assert dynlab.diagnose(z, labels=classes.astype(float) + 7).knn.correct == 60
    by_chance = dynlab.diagnose(z, labels=rng.permutation(classes)).knn
    assert by_chance.share < 0.6


REFUSED = {
    "nan": ({"z": np.array([[1.0, 2.0]] * 5 + [[np.nan, 1.0], [np.inf, 2.0]])},
            "z='2 of 7 rows hold nan or infinity, the first is row 5': must be finite numbers (rows count from 0)"),
    "one nan": ({"z": np.array([[1.0, 2.0]] * 5 + [[np.nan, 1.0]])}, "z='1 of 6 rows holds nan"),
    "one axis": ({"z": np.arange(5.0)}, "z=(5,): must be a matrix"),
    "four axes": ({"z": np.zeros((2, 2, 2, 2))}, "z=(2, 2, 2, 2): must be a matrix"),
    "no row": ({"z": np.zeros((0, 4))}, "z=(0, 4): must be a matrix"),
    "one row": ({"z": np.zeros((1, 4))}, "z=(1, 4): must be two rows or more"),
    "objects": ({"z": np.array([[None, 1.0], [2.0, 3.0]])}, "z='object (2, 2)': must be an array of integers or of floats"),
    "words": ({"z": np.array([["a", "b"], ["c", "d"]])}, "must be an array of integers or of floats"),
    "truths": ({"z": np.ones((4, 4), bool)}, "z='bool (4, 4)': must be an array of integers or of floats"),
    "complex": ({"z": np.ones((4, 4), complex)}, "must be an array of integers or of floats"),
    "ragged": ({"z": [[1.0, 2.0], [3.0]]}, "z='list': must be an array of numbers"),
    "head's shape": ({"z": wide(), "head": np.eye(7)}, "head=(7, 7): must be 8 x 8"),
    "head's nan": ({"z": wide(), "head": np.eye(8) * np.nan}, "head='nan or infinity': must be finite numbers"),
    "target's shape": ({"z": wide(), "target": wide(399)}, "target=(399, 8): must be of z's shape (400, 8)"),
    "target's nan": ({"z": wide(), "target": np.full((400, 8), np.nan)}, "target='400 of 400 rows hold nan"),
    "labels' length": ({"z": wide(), "labels": np.arange(399)}, "labels='399 of them': must be 400, one for each row of z"),
    "labels' axes": ({"z": wide(), "labels": np.zeros((400, 2), int)}, "labels=(400, 2): must be one for each row of z"),
    "labels with parts": ({"z": wide(), "labels": np.linspace(0, 1, 400)}, "must be integers or words"),
    "one class": ({"z": wide(), "labels": np.zeros(400, int)}, "labels='all 0': must be of two classes or more"),
    "unknown file": ({"z": "z.txt"}, "z='z.txt': must be a file of npy, npz, csv, parquet, safetensors"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_one_line(name):
    words, message = REFUSED[name]
    with pytest.raises(SettingError) as refused:
        dynlab.diagnose(**words)
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_a_file_that_is_not_there():
    with pytest.raises(FolderError, match=r"^nowhere/z.npy: does not exist$"):
        dynlab.diagnose("nowhere/z.npy")


def test_a_tensor_leaves_its_graph_and_its_device():
    """Whatever has detach() and cpu(), as a tensor of PyTorch does, is asked for them first."""

    class Tensor:
        def __init__(self, array, where="graph"):
            self.array, self.where = array, where

        def detach(self):
            return Tensor(self.array, "device")

        def cpu(self):
            return Tensor(self.array, "host") if self.where == "device" else self

        def __array__(self, dtype=None, copy=None):
            if self.where != "host":
                raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
            return self.array

    assert dynlab.diagnose(Tensor(wide())).rank == dynlab.diagnose(wide()).rank
