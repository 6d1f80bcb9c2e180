"""Augmentation: every operation against naive loops, what is drawn, and the same bits in whatever order it is made."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from dynlab.images.data import augment as augmentation
from dynlab.images.data import views
from dynlab.images.data.augment import PRESETS, Augmentation, augment, evaluation_view, parameters, render
from dynlab.machine import rng
from dynlab.tools.checks import SettingError
from tests import naive_images as naive

CLOSE = {"rtol": 0.0, "atol": 3e-6}
FULL = Augmentation(
    size=7, jitter=0.8, brightness=0.4, contrast=0.5, saturation=0.6, hue=0.3, grey=0.2, blur=0.5, kernel=5, solarise=0.3,
    mean=(0.4, 0.5, 0.6), deviation=(0.2, 0.3, 0.5),
)  # fmt: skip
PLAIN = {
    "top": 0, "left": 0, "height": 9, "width": 11, "flip": False, "order": None, "brightness": 1.0, "contrast": 1.0,
    "saturation": 1.0, "hue": 0.0, "grey": False, "sigma": 0.0, "solarise": False,
}  # fmt: skip
ORDERS = {naive.order_of(number): number for number in range(24)}


def some_pictures(count=6, height=9, width=11, channels=3, seed=0):
    """Random pictures; the first three are black, white, and pure colours and greys."""
    made = np.random.default_rng(seed).integers(0, 256, (count, height, width, channels), np.uint8)
    made[0], made[1] = 0, 255
    made[2] = np.random.default_rng(seed).choice(np.array([0, 128, 255], np.uint8), made[2].shape)
    return made


def as_row(drawn):
    """What was drawn, as a row of parameters."""
    row = np.zeros(views.PARAMETERS)
    for name, value in drawn.items():
        row[getattr(views, name.upper())] = ORDERS.get(value, -1) if name == "order" else value
    return row


def as_drawn(row):
    """A row of parameters as a dictionary."""
    drawn = {name: float(row[getattr(views, name.upper())]) for name in PLAIN}
    order = {number: names for names, number in ORDERS.items()}.get(int(drawn["order"]))
    return drawn | {name: int(drawn[name]) for name in ("top", "left", "height", "width")} | {"order": order}


def compare(changes, size=7, channels=3, pictures=None, **settings):
    """The compiled views of some pictures with what was drawn changed from PLAIN, against the loops."""
    pictures = some_pictures(channels=channels) if pictures is None else pictures
    drawn = PLAIN | {"height": pictures.shape[1], "width": pictures.shape[2]} | changes
    out = np.empty((len(pictures), size, size, channels), np.float32)
    chosen = Augmentation(size=size, **settings)
    render(pictures, range(len(pictures)), np.tile(as_row(drawn), (len(pictures), 1)), chosen, out)
    for picture, found in zip(pictures, out, strict=True):
        right = naive.view(picture, drawn, size, chosen.kernel, chosen.mean, chosen.deviation)
        np.testing.assert_allclose(found, right, **CLOSE)


CROPS = [(0, 0, 9, 11), (2, 3, 4, 5), (8, 10, 1, 1), (0, 4, 9, 2), (5, 0, 2, 11)]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("size", "box"), list(itertools.product([1, 4, 7, 16], CROPS)))
def test_crop(channels, size, box):
    compare(dict(zip(("top", "left", "height", "width"), box, strict=True)), size, channels)


@pytest.mark.parametrize("channels", [1, 3])
def test_flip(channels):
    compare({"flip": True, "left": 1, "width": 9}, 6, channels)


AMOUNTS = [(name, x) for name in naive.NAMES[:3] for x in (0.0, 0.3, 0.7, 1.0, 1.4, 2.5)]
AMOUNTS += [("hue", x) for x in (-0.5, -0.3, -0.1, 0.04, 0.2, 0.35, 0.5)]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("name", "amount"), AMOUNTS)
def test_one_jitter_alone(channels, name, amount):
    order = (name, *(other for other in naive.NAMES if other != name))
    compare({"order": order, name: amount}, 5, channels)


@pytest.mark.parametrize("order", list(ORDERS))
def test_every_order_of_the_jitter(order):
    compare({"order": order, "brightness": 1.3, "contrast": 1.4, "saturation": 1.6, "hue": 0.21}, 5)


def test_orders_differ_from_one_another():
    """Otherwise the test above would not tell them apart; all 24 occur."""
    assert len(set(ORDERS)) == 24
    picture = some_pictures(4, 5, 5)[3]
    changes = {"height": 5, "width": 5, "brightness": 1.3, "contrast": 1.4, "saturation": 1.6, "hue": 0.21}
    made = [naive.view(picture, PLAIN | changes | {"order": order}, 5) for order in ORDERS]
    assert min(np.abs(a - b).max() for a, b in itertools.combinations(made, 2)) > 100 * CLOSE["atol"]


@pytest.mark.parametrize("channels", [1, 3])
def test_grey(channels):
    compare({"grey": True}, 6, channels)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("size", "kernel"), [(4, 3), (4, 7), (9, 5), (5, 1)])
@pytest.mark.parametrize("sigma", [0.1, 0.7, 2.0])
def test_blur(channels, size, kernel, sigma):
    compare({"sigma": sigma, "flip": True}, size, channels, kernel=kernel)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("more", [{}, {"sigma": 0.7, "grey": True}])
def test_solarisation(channels, more):
    """Brightened first, so that some values are clipped to 1 and then become 0."""
    order = ("brightness", *(other for other in naive.NAMES if other != "brightness"))
    compare({"solarise": True, "order": order, "brightness": 1.3, **more}, 6, channels)


def test_solarisation_by_hand():
    """Bytes 0, 51, 127, 128, 204, 255 are 0, 0.2, 0.498, 0.502, 0.8, 1."""
    picture = np.repeat(np.uint8([0, 51, 127, 128, 204, 255]).reshape(1, 1, 6, 1), 6, 1)
    whole = Augmentation(size=6, scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0, solarise=1.0)
    out = augment(picture, [0], whole, 0, 0, 0, np.empty((1, 6, 6, 1), np.float32))
    np.testing.assert_allclose(out[0, 3, :, 0], np.array([0, 51, 127, 127, 51, 0]) / 255.0, atol=1e-6)


@pytest.mark.parametrize(("channels", "mean", "deviation"), [(3, (0.1, 0.5, 0.9), (2.0, 0.5, 0.25)), (1, (0.3,), (0.6,))])
def test_normalisation(channels, mean, deviation):
    compare({}, 5, channels, mean=mean, deviation=deviation)


@pytest.mark.parametrize(("channels", "height", "width"), [(3, 9, 11), (1, 12, 6), (3, 6, 15)])
def test_whole_views(channels, height, width):
    """Drawn, cropped, jittered, blurred and normalised, against the loops from the same words."""
    settings = replace(FULL, mean=FULL.mean[:channels], deviation=FULL.deviation[:channels])
    pictures = some_pictures(12, height, width, channels)
    seed, epoch, view = (7 << 32) + 5, 3, 1
    indices = np.array([11, 3, 4, 7, 8, 2, 9, 6])
    out = np.empty((len(indices), 7, 7, channels), np.float32)
    assert augment(pictures, indices, settings, seed, epoch, view, out) is out
    drawn = parameters((height, width), indices, settings, seed, epoch, view)
    for picture, row, found in zip(indices, drawn, out, strict=True):

        def words(block, picture=int(picture)):
            return rng.philox(block, view + rng.DOMAIN * rng.PICTURES, picture, epoch, 5, 7)

        right = naive.draw(words, settings, height, width)
        found_drawn = as_drawn(row)
        assert found_drawn.pop("order") == right["order"]
        assert found_drawn == pytest.approx({name: float(right[name]) for name in found_drawn}, rel=1e-12, abs=1e-12)
        right = naive.view(pictures[picture], right, 7, 5, settings.mean, settings.deviation)
        np.testing.assert_allclose(found, right, **CLOSE)


def test_what_is_drawn_is_the_formula():
    """The compiled draws are those of the undecorated source, to the bit; among them crops that never fit."""
    settings = replace(FULL, scale=(0.9, 1.0), ratio=(0.9, 1.1))
    shape, numbers = (8, 20), augmentation._numbers(settings)
    found = parameters(shape, np.arange(50), settings, 1, 2, 0)
    one = np.zeros(views.PARAMETERS)
    for i in range(50):
        views.draw_view(numbers, *shape, i, 0, 2, 1, 0, one)
        assert np.array_equal(one, found[i])
    assert np.all(found[:, [views.TOP, views.LEFT, views.HEIGHT, views.WIDTH]] == [0, 5, 8, 9])


def test_distribution():
    """Shares of the decisions, of the 24 orders, and the uniform laws; the bounds are held."""
    n = 20000
    settings = replace(FULL, scale=(0.3, 0.7))  # every first try fits
    found = parameters((400, 400), np.arange(n), settings, 0, 0, 0)
    for column, rate in ((views.FLIP, 0.5), (views.GREY, 0.2), (views.SOLARISE, 0.3)):
        assert abs(found[:, column].mean() - rate) < 4 * np.sqrt(rate * (1 - rate) / n)
    jitter = found[:, views.ORDER] >= 0
    assert abs(jitter.mean() - 0.8) < 4 * np.sqrt(0.16 / n)
    counts = np.bincount(found[jitter, views.ORDER].astype(int), minlength=24)
    assert len(counts) == 24 and stats.chisquare(counts).pvalue > 1e-3
    blurred = found[:, views.SIGMA] > 0
    assert abs(blurred.mean() - 0.5) < 4 * np.sqrt(0.25 / n)
    area = found[:, views.HEIGHT] * found[:, views.WIDTH] / 400**2
    laws = {"brightness": (0.6, 1.4), "contrast": (0.5, 1.5), "saturation": (0.4, 1.6), "hue": (-0.3, 0.3)}
    values = {name: found[:, getattr(views, name.upper())] for name in laws}
    values |= {"area": area, "sigma": found[blurred, views.SIGMA]}
    laws |= {"area": (0.3, 0.7), "sigma": settings.sigma}
    values["ratio"], laws["ratio"] = np.log(found[:, views.WIDTH] / found[:, views.HEIGHT]), tuple(np.log(settings.ratio))
    for name, (low, high) in laws.items():
        slack = 0.01 if name in ("area", "ratio") else 0.0  # whole pixels
        assert values[name].min() >= low - slack and values[name].max() <= high + slack, name
        width = high - low
        assert abs(values[name].mean() - (low + high) / 2) < 5 * width / np.sqrt(12 * len(values[name])) + slack / 4, name
        assert abs(values[name].std() - width / np.sqrt(12)) < 0.02 * width, name
    for name, side in (("top", views.HEIGHT), ("left", views.WIDTH)):
        places = values[name] = found[:, getattr(views, name.upper())] / (400 - found[:, side])
        assert places.min() == 0.0 and places.max() == 1.0 and abs(places.mean() - 0.5) < 0.02
    values |= {"flip": found[:, views.FLIP], "grey": found[:, views.GREY], "jitter": jitter, "blur": blurred}
    values["solarise"] = found[:, views.SOLARISE]
    del values["sigma"]  # 0 where there is no blur
    correlation = np.corrcoef(np.stack(list(values.values())))
    assert np.abs(correlation - np.eye(len(values))).max() < 5 / np.sqrt(n)


@pytest.mark.parametrize("other", [{"seed": 1}, {"seed": 1 << 32}, {"epoch": 1}, {"view": 1}, {"indices": range(1, 501)}])
def test_every_part_of_the_key_counts(other):
    key = {"indices": range(500), "settings": FULL, "seed": 0, "epoch": 0, "view": 0}
    one, two = parameters((32, 32), **key), parameters((32, 32), **(key | other))
    assert np.mean(one[:, views.BRIGHTNESS] == two[:, views.BRIGHTNESS]) == 0.0
    assert abs(np.corrcoef(one[:, views.BRIGHTNESS], two[:, views.BRIGHTNESS])[0, 1]) < 0.2
    assert np.array_equal(one, parameters((32, 32), **key))


def test_same_bits_in_any_company(monkeypatch):
    """Threads, order and composition of the batch change nothing, nor does what was made before."""
    pictures = some_pictures(100, 32, 32)
    settings = replace(FULL, size=24)
    whole = np.empty((100, 24, 24, 3), np.float32)
    augment(pictures, np.arange(100), settings, 3, 4, 0, whole, threads=1)
    for count in (2, 3, 5):
        monkeypatch.setattr(augmentation.numba, "get_num_threads", lambda count=count: count)
        again = np.full_like(whole, np.nan)
        augment(pictures, np.arange(100), settings, 3, 4, 0, again)
        assert np.array_equal(whole, again)
    other = np.empty((20, 8, 8, 3), np.float32)
    augment(pictures, np.arange(20), replace(FULL, size=8, kernel=3), 3, 4, 0, other)
    order = np.random.default_rng(0).permutation(100)[:37]
    some = np.empty((37, 24, 24, 3), np.float32)
    augment(pictures, order, settings, 3, 4, 0, some)
    assert np.array_equal(some, whole[order])
    single = np.empty((1, 24, 24, 3), np.float32)
    augment(pictures, [99], settings, 3, 4, 0, single)
    assert np.array_equal(single[0], whole[99])
    render(pictures, order, parameters((32, 32), order, settings, 3, 4, 0), settings, some)
    assert np.array_equal(some, whole[order])


@pytest.mark.parametrize("channels", [1, 3])
def test_evaluation_view(channels):
    """The pictures themselves; of another size, all of the picture interpolated; nothing is drawn."""
    pictures = some_pictures(40, 8, 8, channels)
    settings = replace(PRESETS["demo"], size=8)
    out = np.empty((40, 8, 8, channels), np.float32)
    evaluation_view(pictures, settings, out)
    np.testing.assert_allclose(out, pictures / 255.0, **CLOSE)
    settings = replace(settings, size=5, mean=(0.2,), deviation=(0.5,))
    out = np.empty((40, 5, 5, channels), np.float32)
    evaluation_view(pictures, settings, out)
    for picture, found in zip(pictures, out, strict=True):
        np.testing.assert_allclose(found, (naive.crop(picture, 0, 0, 8, 8, 5) - 0.2) / 0.5, **CLOSE)


def test_no_augmentation_is_the_picture():
    pictures = some_pictures(6, 32, 32)
    out = np.empty((6, 32, 32, 3), np.float32)
    augment(pictures, range(6), PRESETS["none"], 0, 0, 0, out)
    np.testing.assert_allclose(out, pictures / 255.0, **CLOSE)


def test_presets():
    """The named sets stand as documented and make views of pictures of their kind."""
    assert set(PRESETS) == {"demo", "simsiam-cifar10", "paper", "none"}
    demo, simsiam = PRESETS["demo"], PRESETS["simsiam-cifar10"]
    assert (demo.size, demo.scale, demo.hue, demo.grey, demo.jitter, demo.blur) == (24, (0.2, 1.0), 0.0, 0.2, 0.8, 0.0)
    assert (demo.brightness, demo.contrast, demo.saturation, demo.flip) == (0.4, 0.4, 0.4, 0.5)
    assert (simsiam.size, simsiam.hue, simsiam.blur) == (32, 0.1, 0.0)
    assert PRESETS["paper"].blur == 0.5
    for settings in PRESETS.values():
        pictures = some_pictures(8, 96, 96)
        out = np.full((8, settings.size, settings.size, 3), np.nan, np.float32)
        augment(pictures, range(8), settings, 0, 0, 0, out)
        assert np.isfinite(out).all()
        assert Augmentation(**settings.plain()) == settings


BAD = [
    ("size", 0), ("size", 24.5), ("scale", (0.5, 0.2)), ("scale", (0.0, 1.0)), ("scale", (0.5, 1.5)), ("scale", 0.5),
    ("ratio", (-1.0, 1.0)), ("flip", 1.5), ("flip", float("nan")), ("jitter", "often"), ("brightness", -0.1), ("hue", 0.6),
    ("kernel", 4), ("kernel", 0), ("sigma", (0.0, 1.0)), ("mean", (0.1, 0.2)), ("deviation", (0.0,)), ("deviation", 1.0),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), BAD)
def test_bad_settings(name, value):
    with pytest.raises(SettingError) as caught:
        Augmentation(**{name: value})
    assert caught.value.name == name and "\n" not in str(caught.value)


def test_blur_wider_than_the_view():
    with pytest.raises(SettingError, match="kernel=9"):
        Augmentation(size=4, blur=0.5, kernel=9)


def test_arrays_that_do_not_fit():
    pictures, out = some_pictures(), np.empty((2, 24, 24, 3), np.float32)
    demo = PRESETS["demo"]
    for wrong, name in (
        ({"pictures": pictures.astype(np.float32)}, "pictures"),
        ({"pictures": pictures[:, :, ::2]}, "pictures"),
        ({"pictures": pictures[..., :2].copy()}, "pictures"),
        ({"indices": [0, 6]}, "indices"),
        ({"indices": [-1, 0]}, "indices"),
        ({"indices": [0, 1, 2]}, "out"),
        ({"out": out.astype(np.float64)}, "out"),
        ({"out": out[:, :, ::-1]}, "out"),
        ({"seed": -1}, "seed"),
        ({"epoch": 1 << 32}, "epoch"),
        ({"view": 1 << 28}, "view"),
    ):
        given = {"pictures": pictures, "indices": [0, 1], "settings": demo, "seed": 0, "epoch": 0, "view": 0, "out": out}
        with pytest.raises(SettingError) as caught:
            augment(**(given | wrong))
        assert caught.value.name == name and "\n" not in str(caught.value)
    with pytest.raises(SettingError, match="mean"):
        one = np.empty((6, 32, 32, 1), np.float32)
        evaluation_view(some_pictures(channels=1), PRESETS["simsiam-cifar10"], one)
