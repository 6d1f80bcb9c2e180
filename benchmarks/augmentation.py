"""Random views of pictures: checked against slow loops and against PyTorch, then timed beside PyTorch on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.machine import installed, shown, side_by_side, spread, timed_if_right, verified
from dynlab.images.data import views
from dynlab.images.data.augment import PRESETS, augment, parameters
from dynlab.tools.checks import available_threads
from tests import naive_images as naive

VIEWS = 256
SIDES = {"demo": 32, "simsiam-cifar10": 32, "paper": 96}  # of the pictures
GOALS = {"demo": 1.5}  # milliseconds for 256 views: a tenth of a training step
TOLERANCE = 2e-5  # of a pixel after normalisation
LUMA = (0.2989, 0.587, 0.114)


class Torch:
    """The same views in PyTorch from the same drawn parameters.

    `one_by_one` makes them as torchvision's transforms do, picture by picture; `together` makes the whole batch at once,
    which needs one order of the jitter for all and every operation on all pictures, kept where it was not drawn.
    """

    def __init__(self, settings):
        import torch

        self.torch, self.settings = torch, settings
        torch.set_num_threads(available_threads())
        self.luma = torch.tensor(LUMA)[:, None, None]
        self.mean = torch.tensor(np.broadcast_to(np.float32(settings.mean), 3).copy())[:, None, None]
        self.deviation = torch.tensor(np.broadcast_to(np.float32(settings.deviation), 3).copy())[:, None, None]

    def grey(self, x):
        """Luma, one channel."""
        return (x * self.luma).sum(-3, keepdim=True)

    def blend(self, x, other, part):
        """part x + (1 - part) other, clipped."""
        return (part * x + (1.0 - part) * other).clamp_(0.0, 1.0)

    def turned(self, x, shift):
        """The hue of x (..., 3, h, w) moved by so many turns."""
        torch = self.torch
        red, green, blue = x.unbind(-3)
        high, low = x.amax(-3), x.amin(-3)
        chroma = high - low
        safe = torch.where(chroma > 0, chroma, torch.ones_like(chroma))
        hue = torch.where(green == high, 2.0 + (blue - red) / safe, 4.0 + (red - green) / safe)
        hue = torch.where(red == high, (green - blue) / safe, hue)
        hue = torch.remainder(hue / 6.0 + shift, 1.0) * 6.0
        k = [torch.remainder(n + hue, 6.0) for n in (5.0, 3.0, 1.0)]
        return torch.stack([high - chroma * torch.minimum(a, 4.0 - a).clamp_(0.0, 1.0) for a in k], -3)

    def jittered(self, name, x, amount):
        """One operation of the jitter; amount a number, or one for each picture (b, 1, 1, 1)."""
        if name == "brightness":
            return (x * amount).clamp_(0.0, 1.0)
        if name == "contrast":
            return self.blend(x, self.grey(x).mean((-3, -2, -1), keepdim=True), amount)
        if name == "saturation":
            return self.blend(x, self.grey(x), amount)
        return self.turned(x, amount if isinstance(amount, float) else amount[..., 0])

    def blurred(self, x, sigma):
        """Gaussian blur of x (3, h, w)."""
        torch, count = self.torch, self.settings.kernel
        place = torch.arange(count, dtype=torch.float32) - count // 2
        taps = torch.exp(-0.5 * (place / sigma) ** 2)
        taps = taps / taps.sum()
        kernel = (taps[:, None] * taps[None, :]).expand(3, 1, count, count).contiguous()
        padded = torch.nn.functional.pad(x[None], (count // 2,) * 4, mode="reflect")
        return torch.nn.functional.conv2d(padded, kernel, groups=3)[0]

    def one_by_one(self, pictures, indices, drawn, out):
        """Fill out (b, 3, size, size)."""
        size = (self.settings.size,) * 2
        with self.torch.no_grad():
            for i, (index, row) in enumerate(zip(indices, drawn, strict=True)):
                p = row.tolist()
                top, left, height, width = (int(v) for v in p[:4])
                x = pictures[index][top : top + height, left : left + width].permute(2, 0, 1)[None].float() / 255.0
                x = self.torch.nn.functional.interpolate(x, size=size, mode="bilinear", align_corners=False)[0]
                x = x.flip(-1) if p[views.FLIP] else x
                for name in naive.order_of(int(p[views.ORDER])) if p[views.ORDER] >= 0 else ():
                    if getattr(self.settings, name):
                        x = self.jittered(name, x, p[getattr(views, name.upper())])
                x = self.grey(x).expand(3, *size) if p[views.GREY] else x
                x = self.blurred(x, p[views.SIGMA]) if p[views.SIGMA] else x
                out[i] = (x - self.mean) / self.deviation
        return out

    def together(self, pictures, indices, drawn):
        """All views (b, 3, size, size) at once, without blur, jitter in one order."""
        torch, settings = self.torch, self.settings
        with torch.no_grad():
            x = pictures[torch.from_numpy(indices)].permute(0, 3, 1, 2).float() / 255.0
            p = torch.from_numpy(drawn).float()
            side = x.shape[2]
            place = (torch.arange(settings.size) + 0.5) / settings.size
            rows = torch.minimum((p[:, 2:3] * place - 0.5).clamp_(min=0.0), p[:, 2:3] - 1) + p[:, 0:1]
            columns = torch.minimum((p[:, 3:4] * place - 0.5).clamp_(min=0.0), p[:, 3:4] - 1) + p[:, 1:2]
            columns = torch.where(p[:, views.FLIP, None] > 0, columns.flip(1), columns)
            grid = torch.stack(torch.broadcast_tensors(columns[:, None, :], rows[:, :, None]), -1)
            x = torch.nn.functional.grid_sample(x, (2 * grid + 1) / side - 1, align_corners=False, padding_mode="border")
            drawn_too = (p[:, views.ORDER] >= 0)[:, None, None, None]
            for name in naive.NAMES:
                if getattr(settings, name):
                    amount = p[:, getattr(views, name.upper())][:, None, None, None]
                    x = torch.where(drawn_too, self.jittered(name, x, amount), x)
            x = torch.where((p[:, views.GREY] > 0)[:, None, None, None], self.grey(x), x)
            return (x - self.mean) / self.deviation


def check(name, settings, pictures, indices, drawn, out, torch) -> dict:
    """Refuse to time wrong views: a few against slow loops, all of them against PyTorch where it is there."""
    apart = 0.0
    for i in range(2 if settings.blur else 6):
        box = ("top", "left", "height", "width")
        row = {key: drawn[i, getattr(views, key.upper())] for key in (*box, *naive.NAMES, "flip", "grey", "sigma")}
        row |= {key: int(row[key]) for key in box}
        row["order"] = naive.order_of(int(drawn[i, views.ORDER])) if drawn[i, views.ORDER] >= 0 else None
        right = naive.view(pictures[indices[i]], row, settings.size, settings.kernel, settings.mean, settings.deviation)
        apart = np.maximum(apart, np.abs(out[i] - right).max())
    found = {"pixels, against loops": (float(apart), TOLERANCE)}
    if torch is not None:
        made = np.empty((len(indices), 3, settings.size, settings.size), np.float32)
        torch.one_by_one(torch.torch.from_numpy(pictures), indices, drawn, torch.torch.from_numpy(made))
        found["pixels, against PyTorch"] = float(np.abs(out - made.transpose(0, 2, 3, 1)).max()), TOLERANCE
    return verified(f"augmentation {name}", found)


def one(name: str, repeats: int) -> dict:
    """Milliseconds for 256 views of a named set, ours on all cores and on one, PyTorch in both ways."""
    settings, random = PRESETS[name], np.random.default_rng(0)
    # Smooth pictures of all colours, as photographs are.
    coarse = random.integers(0, 256, (512, 8, 8, 3)).astype(np.uint8)
    pictures = np.ascontiguousarray(coarse.repeat(SIDES[name] // 8, 1).repeat(SIDES[name] // 8, 2))
    indices = random.permutation(len(pictures))[:VIEWS]
    out = np.empty((VIEWS, settings.size, settings.size, 3), np.float32)
    drawn = parameters(pictures.shape[1:3], indices, settings, 0, 0, 0)
    torch = Torch(settings) if installed("PyTorch") else None
    augment(pictures, indices, settings, 0, 0, 0, out)
    row: dict[str, Any] = {"views": VIEWS, "size": settings.size}
    row["differences"] = check(name, settings, pictures, indices, drawn, out, torch)
    runs = {
        "ours": lambda: augment(pictures, indices, settings, 0, 0, 0, out),
        "ours, one thread": lambda: augment(pictures, indices, settings, 0, 0, 0, out, threads=1),
    }
    if torch is not None:
        held = torch.torch.from_numpy(pictures)
        made = torch.torch.empty(VIEWS, 3, settings.size, settings.size)
        runs["torch, one by one"] = lambda: torch.one_by_one(held, indices, drawn, made)
        if not settings.blur:
            runs["torch, together"] = lambda: torch.together(held, indices, drawn)
    seconds = {key: 1e3 * np.array(values) for key, values in side_by_side(runs, repeats).items()}
    row["ms"] = {key: spread(values) for key, values in seconds.items()}
    if torch is not None:
        best = min((key for key in runs if key.startswith("torch")), key=lambda key: row["ms"][key]["median"])
        row |= {"fastest_peer": best, "torch_ratio": spread(seconds[best] / seconds["ours"])}
    if name in GOALS:
        row["goal_ms"] = GOALS[name]
    text = "; ".join(f"{key} {shown(value)}" for key, value in row["ms"].items())
    print(f"{name}: {VIEWS} views of {settings.size} x {settings.size}, milliseconds: {text}", flush=True)
    return row


def run(quick: bool = False) -> dict:
    """All named sets that draw anything; quick: the first."""
    if quick:
        return {"demo": timed_if_right(one, "demo", 3)}
    return {name: timed_if_right(one, name, 31 if PRESETS[name].size < 64 else 9) for name in SIDES}
