"""A network of `dynlab.images` as a PyTorch module with the same weights: for parity and for timing."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from dynlab.images.networks import nodes


class Cube(nn.Module):
    """z^3, or max(0, z)^3."""

    def __init__(self, rectified):
        super().__init__()
        self.rectified = rectified

    def forward(self, x):
        return (torch.relu(x) if self.rectified else x) ** 3


class Sum(nn.Module):
    """relu(inner(x) + shortcut(x))."""

    def __init__(self, inner, shortcut):
        super().__init__()
        self.inner, self.shortcut = inner, shortcut

    def forward(self, x):
        return torch.relu(self.inner(x) + self.shortcut(x))


def modules(layers, shape):
    """nn.Sequential of the layers for inputs (c, h, w), or (c,); shape is that of dynlab, the channels last."""
    made = []
    for layer in layers:
        c = shape[-1]
        norm = nn.BatchNorm1d if len(shape) == 1 else nn.BatchNorm2d
        match layer:
            case nodes.Convolution(channels, kernel, stride):
                made.append(nn.Conv2d(c, channels, kernel, stride, kernel // 2, bias=False))
                shape = ((shape[0] - 1) // stride + 1, (shape[1] - 1) // stride + 1, channels)
            case nodes.BatchNorm(relu, affine, eps, momentum):
                made.append(norm(c, eps, momentum, affine))
                made += [nn.ReLU(inplace=True)] if relu else []
            case nodes.Linear(outputs, bias):
                made.append(nn.Linear(c, outputs, bias))
                shape = (*shape[:-1], outputs)
            case nodes.Activation(kind):
                made.append(nn.ReLU() if kind == "relu" else Cube(kind == "relu3"))
            case nodes.MeanPool(False):
                made += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
                shape = shape[-1:]
            case nodes.MaxPool(size, stride):
                made.append(nn.MaxPool2d(size, stride))
                shape = ((shape[0] - size) // stride + 1, (shape[1] - size) // stride + 1, c)
            case nodes.Residual(inner, shortcut):
                main, shape_of_main = modules(inner, shape)
                made.append(Sum(main, modules(shortcut, shape)[0]))
                shape = shape_of_main
            case _:
                raise NotImplementedError(layer)
    return nn.Sequential(*made), tuple(shape)


def _to_torch(values, shape):
    """As PyTorch keeps it: (k, k, in, out) -> (out, in, k, k), (in, out) -> (out, in)."""
    tensor = torch.from_numpy(np.array(values.reshape(shape)))
    return tensor.permute(3, 2, 0, 1) if len(shape) == 4 else tensor.t() if len(shape) == 2 else tensor


def twin(network):
    """The module with the network's parameters, in training."""
    module, _ = modules(network.layers, network.input_shape)
    module = module.to(getattr(torch, network.dtype))
    values = network.ops.to_host(network.parameters)
    with torch.no_grad():
        for parameter, (_, start, stop, shape) in zip(module.parameters(), network.segments, strict=True):
            parameter.copy_(_to_torch(values[start:stop], shape))
    return module.train()


def flat(tensors, network):
    """Parameters or gradients of a twin, as the network's flat vector."""
    parts = []
    for tensor, (_, _, _, shape) in zip(tensors, network.segments, strict=True):
        array = tensor.detach().numpy()
        parts.append((array.transpose(2, 3, 1, 0) if len(shape) == 4 else array.T).reshape(-1))
    return np.concatenate(parts)


def pictures(x):
    """(n, h, w, c) as a tensor (n, c, h, w)."""
    return torch.from_numpy(x).permute(0, 3, 1, 2).contiguous() if x.ndim == 4 else torch.from_numpy(x)


class Block(nn.Module):
    """torchvision's BasicBlock."""

    def __init__(self, inputs, width, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        self.downsample = None
        if stride != 1 or inputs != width:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet18(nn.Module):
    """torchvision's resnet18, names alike, with a 3 x 3 stem of stride 1, without pooling after it and without fc."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64)
        before = 64
        for layer, width in enumerate((64, 128, 256, 512), 1):
            blocks = Block(before, width, 1 if layer == 1 else 2), Block(width, width, 1)
            setattr(self, f"layer{layer}", nn.Sequential(*blocks))
            before = width

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        return self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean((2, 3))
