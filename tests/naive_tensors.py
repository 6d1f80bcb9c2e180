"""Files of safetensors by hand, and PyTorch's layers by loops over arrays (n, c, h, w). Imports nothing of dynlab."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np

NAMES = {"float64": "F64", "float32": "F32", "float16": "F16", "int64": "I64", "int32": "I32", "uint8": "U8", "bool": "BOOL"}


def write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Header and numbers as the format says, in the order given."""
    header, numbers = {}, b""
    for name, array in arrays.items():
        raw = array.tobytes()
        header[name] = {
            "dtype": NAMES[str(array.dtype)],
            "shape": array.shape,
            "data_offsets": [len(numbers), len(numbers) + len(raw)],
        }
        numbers += raw
    raw_write(path, json.dumps(header).encode(), numbers)


def raw_write(path: Path, header: bytes, numbers: bytes) -> None:
    """Any header before any numbers."""
    path.write_bytes(struct.pack("<Q", len(header)) + header + numbers)


def read(path: Path) -> dict[str, np.ndarray]:
    """The arrays, copied one by one."""
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    header.pop("__metadata__", None)
    kinds = {short: np.dtype(name) for name, short in NAMES.items()}
    found = {}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        part = raw[8 + length + first : 8 + length + last]
        found[name] = np.frombuffer(part, kinds[entry["dtype"]]).reshape(entry["shape"])
    return found


def convolved(x: np.ndarray, weight: np.ndarray, stride: int, padding: int) -> np.ndarray:
    """nn.Conv2d without bias: weight (out, in, k, k)."""
    n, _, height, width = x.shape
    outputs, _, k, _ = weight.shape
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    rows, columns = ((side + 2 * padding - k) // stride + 1 for side in (height, width))
    out = np.zeros((n, outputs, rows, columns))
    for i in range(rows):
        for j in range(columns):
            window = padded[:, :, i * stride : i * stride + k, j * stride : j * stride + k]
            out[:, :, i, j] = np.einsum("ncab,ocab->no", window, weight)
    return out


def normalised(x: np.ndarray, arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    """nn.BatchNorm in evaluation mode, channels second."""
    shape = (1, -1) + (1,) * (x.ndim - 2)
    mean, var = (arrays[f"{name}.{key}"].astype(float).reshape(shape) for key in ("running_mean", "running_var"))
    scale, shift = (arrays[f"{name}.{key}"].astype(float).reshape(shape) for key in ("weight", "bias"))
    return (x - mean) / np.sqrt(var + 1e-5) * scale + shift


def sequential(x: np.ndarray, arrays: dict[str, np.ndarray], strides: list[int]) -> np.ndarray:
    """Conv2d (3 x 3, padding 1), BatchNorm2d, ReLU for each stride, then the mean over places: modules 0, 1, (2), 3, ..."""
    for i, stride in enumerate(strides):
        x = convolved(x, arrays[f"{3 * i}.weight"].astype(float), stride, 1)
        x = np.maximum(normalised(x, arrays, str(3 * i + 1)), 0.0)
    return x.mean((2, 3))


def residual(x: np.ndarray, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """torchvision's resnet18 with a 3 x 3 stem of stride 1, no pooling after it and no fc."""
    x = np.maximum(normalised(convolved(x, arrays["conv1.weight"].astype(float), 1, 1), arrays, "bn1"), 0.0)
    for layer in (1, 2, 3, 4):
        for block in (0, 1):
            name = f"layer{layer}.{block}"
            stride = 2 if layer > 1 and block == 0 else 1
            y = convolved(x, arrays[f"{name}.conv1.weight"].astype(float), stride, 1)
            y = np.maximum(normalised(y, arrays, f"{name}.bn1"), 0.0)
            y = normalised(convolved(y, arrays[f"{name}.conv2.weight"].astype(float), 1, 1), arrays, f"{name}.bn2")
            if stride == 2:
                x = convolved(x, arrays[f"{name}.downsample.0.weight"].astype(float), stride, 0)
                x = normalised(x, arrays, f"{name}.downsample.1")
            x = np.maximum(x + y, 0.0)
    return x.mean((2, 3))
