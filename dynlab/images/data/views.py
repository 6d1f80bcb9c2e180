r"""Random views of pictures: what is drawn for a view, and the formulas of its pixels.

The definitions are those of torchvision for tensors of floats in [0, 1] (random resized crop without antialiasing, colour
jitter, greyscale, Gaussian blur), for pictures of one or three channels.

**What is drawn.** A view has PARAMETERS numbers (below). They are made of the words of `dynlab.machine.rng.philox` with the
counter (block, view + DOMAIN * PICTURES, picture, epoch) under the key of the seed: blocks 0 to TRIES - 1 hold the tries at
a crop (area, aspect ratio, top, left), the next the four decisions (flip, jitter, grey, blur), then the four factors, then
the order of the jitter, the width of the blur and whether it is solarised. So a view depends on seed, epoch, picture and
number of the view alone.

**Crop.** A rectangle of u |picture| pixels, u uniform in `scale`, and of aspect ratio exp(t), t uniform between the logs of
`ratio`; sides are rounded, the place is uniform. Ten tries at one that fits, else the largest in the middle whose ratio is
allowed (Szegedy et al. 2015, as in torchvision). Pixel i of `size` looks at (i + 1/2) length/size - 1/2 of the cropped
side, kept within it, and is interpolated linearly between its two neighbours there.

**Jitter.** With blend(a, b, f) = clip(f a + (1 - f) b, 0, 1): brightness blends with black, contrast with the mean luma of
the picture, saturation with the luma of the pixel; the hue is shifted in HSV. In a random order. Since

    R = low + c clip(|h - 3| - 1),   G = low + c clip(2 - |h - 2|),   B = low + c clip(2 - |h - 4|),   clip to [0, 1],

for the lowest channel `low`, chroma c and hue h in sixths of the circle, the shift needs neither saturation nor the six
cases of the hexagon, and vectorises.

**Blur.** Weights exp(-x^2/(2 sigma^2)), normalised over an odd number of taps, along rows and then columns; beyond the edge
the picture is reflected about its outermost pixels.

**Solarisation.** Values of 1/2 and more become 1 less the value (Grill et al. 2020); after the blur.

The functions are undecorated and use `math`, scalars and arrays that are handed in, so that they compile for a CPU or a GPU.
Numbers of pixels are float32.
"""

from math import exp, log, sqrt

import numpy as np

from dynlab.machine.rng import DOMAIN, PICTURES, philox

# What is drawn for a view; no jitter: ORDER is -1; no blur: SIGMA is 0.
TOP, LEFT, HEIGHT, WIDTH, FLIP, ORDER, BRIGHTNESS, CONTRAST, SATURATION, HUE, GREY, SIGMA, SOLARISE = range(13)
PARAMETERS = 13
# Layout of the numbers that say how views are drawn.
(
    SCALE_LOW, SCALE_HIGH, RATIO_LOW, RATIO_HIGH, FLIP_RATE, JITTER_RATE, GREY_RATE, BLUR_RATE,
    BRIGHTNESS_MOST, CONTRAST_MOST, SATURATION_MOST, HUE_MOST, SIGMA_LOW, SIGMA_HIGH, SOLARISE_RATE,
) = range(15)  # fmt: skip
NUMBERS = 15
TRIES = 10

_F = np.float32
_HALF = _F(0.5)
_ZERO, _ONE, _TWO, _THREE, _FOUR, _SIX = _F(0.0), _F(1.0), _F(2.0), _F(3.0), _F(4.0), _F(6.0)
RED, GREEN, BLUE = _F(0.2989), _F(0.587), _F(0.114)  # luma of ITU-R BT.601, with the digits of torchvision
UNIT = _F(1.0 / 255.0)


def uniform(word, low, high):
    """A number uniform in [low, high) from a word of 32 bits."""
    return low + (high - low) * (word * 2.0**-32)


def rounded(x):
    """The nearest integer of x >= 0."""
    return int(x + 0.5)


def draw_crop(numbers, height, width, picture, c1, epoch, k0, k1, drawn):
    """Fill TOP, LEFT, HEIGHT, WIDTH of `drawn`."""
    for block in range(TRIES):
        a, b, c, d = philox(block, c1, picture, epoch, k0, k1)
        area = height * width * uniform(a, numbers[SCALE_LOW], numbers[SCALE_HIGH])
        ratio = exp(uniform(b, log(numbers[RATIO_LOW]), log(numbers[RATIO_HIGH])))
        w = rounded(sqrt(area * ratio))
        h = rounded(sqrt(area / ratio))
        if 0 < w and w <= width and 0 < h and h <= height:
            drawn[TOP] = (c * (height - h + 1)) >> 32
            drawn[LEFT] = (d * (width - w + 1)) >> 32
            drawn[HEIGHT] = h
            drawn[WIDTH] = w
            return
    w, h = width, height
    if width < height * numbers[RATIO_LOW]:
        h = rounded(width / numbers[RATIO_LOW])
    elif width > height * numbers[RATIO_HIGH]:
        w = rounded(height * numbers[RATIO_HIGH])
    drawn[TOP] = (height - h) // 2
    drawn[LEFT] = (width - w) // 2
    drawn[HEIGHT] = h
    drawn[WIDTH] = w


def jitter_factor(word, most):
    """A factor uniform in [max(0, 1 - most), 1 + most]."""
    return uniform(word, 1.0 - most if most < 1.0 else 0.0, 1.0 + most)


def draw_view(numbers, height, width, picture, view, epoch, k0, k1, drawn):
    """Fill drawn (PARAMETERS,) for one view of a picture of height x width pixels."""
    c1 = view + PICTURES * DOMAIN
    draw_crop(numbers, height, width, picture, c1, epoch, k0, k1, drawn)
    flip, jitter, grey, blur = philox(TRIES, c1, picture, epoch, k0, k1)
    brightness, contrast, saturation, hue = philox(TRIES + 1, c1, picture, epoch, k0, k1)
    order, sigma, solarise, _ = philox(TRIES + 2, c1, picture, epoch, k0, k1)
    drawn[FLIP] = 1.0 if uniform(flip, 0.0, 1.0) < numbers[FLIP_RATE] else 0.0
    drawn[GREY] = 1.0 if uniform(grey, 0.0, 1.0) < numbers[GREY_RATE] else 0.0
    drawn[ORDER] = float((order * 24) >> 32) if uniform(jitter, 0.0, 1.0) < numbers[JITTER_RATE] else -1.0
    drawn[BRIGHTNESS] = jitter_factor(brightness, numbers[BRIGHTNESS_MOST])
    drawn[CONTRAST] = jitter_factor(contrast, numbers[CONTRAST_MOST])
    drawn[SATURATION] = jitter_factor(saturation, numbers[SATURATION_MOST])
    drawn[HUE] = uniform(hue, -numbers[HUE_MOST], numbers[HUE_MOST])
    drawn[SIGMA] = 0.0
    if uniform(blur, 0.0, 1.0) < numbers[BLUR_RATE]:
        drawn[SIGMA] = uniform(sigma, numbers[SIGMA_LOW], numbers[SIGMA_HIGH])
    drawn[SOLARISE] = 1.0 if uniform(solarise, 0.0, 1.0) < numbers[SOLARISE_RATE] else 0.0


def whole_view(height, width, drawn):
    """Fill drawn with the view that is the picture itself."""
    for i in range(PARAMETERS):
        drawn[i] = 0.0
    drawn[HEIGHT] = height
    drawn[WIDTH] = width
    drawn[ORDER] = -1.0


def jitter_at(order, place):
    """Which of brightness 0, contrast 1, saturation 2, hue 3 comes at a place (0 to 3) of order 0 to 23.

    Digits of the order in the bases 4, 3, 2, 1 say which of those that are left comes next.
    """
    left = 0x3210  # those that are left, four bits each
    base = 4
    found = 0
    for _ in range(place + 1):
        digit = order % base
        order //= base
        base -= 1
        found = (left >> (4 * digit)) & 15
        below = left & ((1 << (4 * digit)) - 1)
        left = below | ((left >> (4 * digit + 4)) << (4 * digit))
    return found


def sample_at(i, size, length):
    """Where pixel i of `size` looks on a side of `length` pixels: the two neighbours and the weight of the second."""
    place = (i + 0.5) * length / size - 0.5
    place = place if place > 0.0 else 0.0
    low = int(place)
    high = low + 1 if low + 1 < length else low
    return low, high, np.float32(place - low)


def between(a, b, weight):
    """a + weight (b - a)."""
    return a + weight * (b - a)


def clipped(x):
    """x within [0, 1]."""
    x = x if x > _ZERO else _ZERO
    return x if x < _ONE else _ONE


def blend(x, other, part):
    """part x + (1 - part) other, within [0, 1]."""
    return clipped(part * x + (_ONE - part) * other)


def solarised(x):
    """x where it is below 1/2, else 1 - x."""
    return x if x < _HALF else _ONE - x


def luma(r, g, b):
    """The grey value of a colour."""
    return RED * r + GREEN * g + BLUE * b


def shift_hue(r, g, b, sixths):
    """The colour with its hue moved by so many sixths of the circle, within [-3, 3]."""
    high = r if r > g else g
    high = high if high > b else b
    low = r if r < g else g
    low = low if low < b else b
    chroma = high - low
    inverse = _ONE / (chroma if chroma > _ZERO else _ONE)
    blue_turn = _FOUR + (r - g) * inverse
    green_turn = _TWO + (b - r) * inverse
    turn = (g - b) * inverse
    # The first of red, green, blue that is the highest decides, as in torchvision.
    other = green_turn if g == high else blue_turn
    hue = (turn if r == high else other) + sixths
    hue = hue + _SIX if hue < _ZERO else hue
    hue = hue - _SIX if hue >= _SIX else hue
    red = low + chroma * clipped(abs(hue - _THREE) - _ONE)
    green = low + chroma * clipped(_TWO - abs(hue - _TWO))
    return red, green, low + chroma * clipped(_TWO - abs(hue - _FOUR))


def reflected(i, size):
    """Pixel i of a side of `size` > 1, reflected about the first and the last; i within one side beyond them."""
    i = -i if i < 0 else i
    return 2 * (size - 1) - i if i >= size else i


def fill_taps(sigma, taps):
    """Fill taps (odd count,) with the weights of a Gaussian of width sigma, of sum 1."""
    middle = (taps.shape[0] - 1) // 2
    total = 0.0
    for i in range(taps.shape[0]):
        total += exp(-0.5 * ((i - middle) / sigma) ** 2)
    for i in range(taps.shape[0]):
        taps[i] = exp(-0.5 * ((i - middle) / sigma) ** 2) / total
