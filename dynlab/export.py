"""The weights of a pretrained run as other frameworks name them.

    python -m dynlab.export RUN --format safetensors

writes the encoder of a finished run of dynlab.pretrain, its names and shapes those of PyTorch's modules: of torchvision's
resnet18 with the stem for small pictures, of an nn.Sequential for the small encoders (page "Weights out and in").
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dynlab.command_line.parser import Parser, run_command
from dynlab.images.settings import OWN_ENCODERS, SPEECH, Pretraining
from dynlab.tools.checks import SettingError, choice, require
from dynlab.tools.files import FolderError, expanded

PROGRAM = "dynlab.export"
FORMATS = ("safetensors", "npz")
EXPORTED = ("encoder", "projector", "head")


@dataclass(frozen=True)
class Settings:
    """The settings of the command, checked."""

    run: Path
    out: Path
    kind: str
    parts: tuple[str, ...]
    quiet: bool


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    call = parser().call(argv)
    return run_command(call, lambda: run(check(call.arguments)))


def run(settings: Settings) -> None:
    """Read the weights, name them and write the file, whole or not at all."""
    from dynlab.images.networks.torch_layout import float_count
    from dynlab.images.training import run_folder
    from dynlab.tools.files import whole_file
    from dynlab.tools.tensor_file import write_tensors

    one = run_folder.settings_of(settings.run)
    found = tensors_of_run(one, run_folder.read_weights(settings.run), settings.parts, settings.run)
    try:
        settings.out.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(settings.out) as partial:
            if settings.kind == "safetensors":
                write_tensors(partial, found)
            else:
                with open(partial, "wb") as file:
                    held: dict[str, Any] = found
                    np.savez(file, **held)
    except OSError as error:
        raise FolderError(settings.out, f"cannot be written ({error.strerror or error})") from None
    if not settings.quiet:
        print(f"{settings.out}: {len(found)} arrays, {float_count(found)} numbers ({', '.join(settings.parts)})", flush=True)


def tensors_of_run(one: Pretraining, weights: dict, parts: Sequence[str], place: Path) -> dict[str, np.ndarray]:
    """{name: array} of parts of a run; with several of them each name has its part before it (encoder.conv1.weight)."""
    from dynlab.images import layers
    from dynlab.images.networks.encoder_and_projector import networks_with
    from dynlab.images.networks.torch_layout import to_torch

    if one.dataset == SPEECH:
        raise FolderError(place, "is a run on speech, whose encoder has no names in PyTorch")
    networks = networks_with(one, weights, layers)
    if networks is None:
        raise FolderError(place, "its weights are not those of its settings")
    found: dict[str, np.ndarray] = {}
    for part in parts:
        if part == "head":
            named = _head(one, weights, networks.outputs)
        elif part == "encoder" and one.encoder in OWN_ENCODERS:
            flat = np.asarray(weights["encoder_parameters"])
            named = {name: flat[a:b].reshape(shape) for name, a, b, shape in networks.encoder.segments}
        else:
            network = networks.parts().get(part)
            if network is None:
                raise SettingError("parts", ",".join(parts), "without projector: the run has none")
            held = (weights[f"{part}_parameters"], weights[f"{part}_buffers"])
            named = to_torch(network, one.encoder if part == "encoder" else "", *held)
        found |= named if len(parts) == 1 else {f"{part}.{name}": array for name, array in named.items()}
    return found


def _head(one: Pretraining, weights: dict, outputs: int) -> dict[str, np.ndarray]:
    """E (m, m), as nn.Linear(m, m, bias=False) has it: F = z E^T; or an MLP's parameters, as an nn.Sequential has them.

    The MLP's batch norm has no running statistics, as nn.BatchNorm1d(hidden, track_running_stats=False) has none.
    """
    from dynlab.images import layers
    from dynlab.images.networks.head import MlpHead
    from dynlab.images.networks.torch_layout import tensors_of

    require(not one.prototypes, "parts", "head", "without head: the run has prototypes in its place")
    flat = np.asarray(weights["head_parameters"])
    if one.head != "mlp":
        return {"weight": flat.reshape(outputs, outputs)}
    network = MlpHead(outputs, layers, hidden=one.head_hidden).network
    held = [part for part in tensors_of(network) if part.kind == "parameters"]
    return {part.name: part.turned(flat[part.start : part.stop]) for part in held}


def check(arguments: argparse.Namespace) -> Settings:
    """Turn the words of the command line into settings; SettingError names the first that is not allowed."""
    require(arguments.run.strip() != "", "name", arguments.run.strip(), "the folder of a run")
    run_, kind = expanded(arguments.run), choice("format", arguments.format, FORMATS)
    parts = tuple(dict.fromkeys(word.strip() for word in arguments.parts.split(",")))
    require(set(parts) <= set(EXPORTED), "parts", arguments.parts, f"some of {', '.join(EXPORTED)}, with commas")
    require(arguments.out != "", "out", "", "the name of a file")
    out = run_ / f"{'-'.join(parts)}.{kind}" if arguments.out is None else expanded(arguments.out)
    require(out.suffix == f".{kind}", "out", arguments.out, f"a name that ends in .{kind}")
    return Settings(run_, out, kind, parts, arguments.quiet)


def parser() -> Parser:
    """The options. Values stay words here: `check` turns them into settings."""
    p = Parser(
        prog=PROGRAM,
        description="Write the weights of a pretrained run with the names and shapes of PyTorch's modules.",
        epilog="example: dynlab export runs/x --format npz --parts encoder,projector",
    )
    p.add_argument("run", help="folder of a finished run of dynlab.pretrain", metavar="RUN")
    p.option("--format", f"of {', '.join(FORMATS)}", FORMATS[0], "NAME")
    p.option("--parts", f"of {', '.join(EXPORTED)}, with commas", EXPORTED[0], "NAME,NAME")
    p.option("--out", "the file (default: one in RUN named by its parts)", metavar="FILE")
    p.add_argument("--quiet", action="store_true", help="print nothing but errors")
    return p


if __name__ == "__main__":
    sys.exit(main())
