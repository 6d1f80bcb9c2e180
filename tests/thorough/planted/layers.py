"""Plants faults in layers and networks, one at a time, and shows which tests of tests/images fail for each (the first few).

    python -m tests.thorough.planted.layers [NAME ...]

Works on a copy of the sources in a temporary folder (`planting`). The exit status is 1 if a fault is not caught, or if the
unchanged sources fail. Run on demand; pytest does not collect it.
"""

from __future__ import annotations

import sys

from tests.thorough.planting import Planting

CONVOLUTION, PRODUCTS, TILES = (f"dynlab/images/layers/{name}.py" for name in ("convolution", "products", "tiles"))
NORMALISE, POOL, POINTWISE = (f"dynlab/images/layers/{name}.py" for name in ("normalise", "pool", "pointwise"))
NETWORK, NODES, WORKSPACE = (f"dynlab/images/networks/{name}.py" for name in ("network", "nodes", "workspace"))
ENCODERS = "dynlab/images/networks/encoders.py"
LAYERS, NETWORKS, NAMES = (
    f"tests/images/{name}.py" for name in ("layers/test_layers", "networks/test_network", "networks/test_encoders")
)
# name: (file, text as it stands, text with the fault)
FAULTS = {
    "taps of the other rows in a class": (CONVOLUTION, "(r + pad - a) // stride, (s", "(r + pad - a + 1) // stride, (s"),
    "no zeros to the right": (PRODUCTS, "& (x >= 0) & (x < wide)", "& (x >= 0) & (x <= wide)"),
    "parts of a sum over places overlap": (
        PRODUCTS,
        "part * places // parts, (part + 1) * places // parts",
        "part * places // parts, min((part + 1) * places // parts + 1, places)",
    ),
    "a tile without its last row": (
        TILES,
        "for i in range(height):\n                target = builder",
        "for i in range(height - 1):\n                target = builder",
    ),
    "sums begin anew in each block": (TILES, "builder.store(value, slot)", "builder.store(e.zero, slot)"),
    "matmul without the transpose": (
        "dynlab/images/layers/dense.py",
        "products.pack_transposed(b.reshape(1, 1, *b.shape), _ONE_TAP, panels)",
        "products.pack(b.reshape(b.shape[::-1]), panels)",
    ),
    "squares of the chunks left out": (NORMALISE, "spread += np.float64(squares[j, k]) + ", "spread += 0.0 * away + "),
    "the variance's own slope left out": (NORMALISE, "slope[g, k] = along / rows", "slope[g, k] = 0.0 * along / rows"),
    "no relu in the last row of odd chunks": (
        NORMALISE,
        "zero if relu and not out[r, k] > zero else d_out[r, k]\n            total",
        "d_out[r, k]\n            total",
    ),
    "biased running variance": (NORMALISE, "(rows / max(rows - 1, 1))", "1.0"),
    "a maximum in its neighbour's place": (POOL, "z * stride + p % size, k] +=", "z * stride + p // size, k] +="),
    "statistics of all groups together": (NODES, "ops.batch_norm(flat, groups,", "ops.batch_norm(flat, 1,"),
    "buffers that later nodes take again": (
        WORKSPACE,
        "self._free = [other for other in self._free if other is not buffer]",
        "pass",
    ),
    "the caller's gradient overwritten": (NODES, "d_x = d_out if space.owns(d_out) else", "d_x = d_out if True else"),
    "a buffer given back too early": (NODES, "if d_x is not d_out:\n            ", "if True:\n            "),
    "a workspace for each step": (NETWORK, "if key not in self._spaces:", "if True:"),
    "decay of norms": (NODES, '("scale", (c,), 0,', '("scale", (c,), 1,'),
    "start by inputs": (NODES, "sqrt(2.0 / (k * k * layer.channels))", "sqrt(2.0 / (k * k * c))"),
    "one stream for all networks": (NETWORK, "DOMAIN_START, stream, 0,", "DOMAIN_START, 0, 0,"),
    "shortcuts everywhere": (ENCODERS, "stage > 0)", "True)"),
}  # fmt: skip


# name: words that choose the tests, of layers for faults in them, otherwise of networks and encoders.
WORDS = {
    "taps of the other rows in a class": "gradients_of_a_convolution",
    "no zeros to the right": "many_tiles and float64",
    "parts of a sum over places overlap": "many_tiles and float64",
    "a tile without its last row": "many_tiles and float64",
    "sums begin anew in each block": "many_tiles and float64",
    "matmul without the transpose": "matmul",
    "squares of the chunks left out": "batch_norm_is_the_loops",
    "the variance's own slope left out": "gradients_of_batch_norm",
    "no relu in the last row of odd chunks": "gradients_of_batch_norm",
    "biased running variance": "running",
    "a maximum in its neighbour's place": "max_pool",
    "statistics of all groups together": "groups",
    "buffers that later nodes take again": "differences",
    "the caller's gradient overwritten": "overwrite or write",
    "a buffer given back too early": "differences",
    "a workspace for each step": "grow",
    "decay of norms": "flat_vectors",
    "start by inputs": "starts",
    "one stream for all networks": "start",
    "shortcuts everywhere": "resnet18",
}


def tests(name):
    """The tests that should see a fault; all for the sources as they are."""
    if name is None:
        return LAYERS, NETWORKS, NAMES
    files = (LAYERS,) if "/layers/" in FAULTS[name][0] else (NETWORKS, NAMES)
    return *files, "-k", WORDS[name], "--numprocesses=0"


PLANTING = Planting("layers", FAULTS, tests, most=2)

if __name__ == "__main__":
    sys.exit(PLANTING.main(sys.argv[1:]))
