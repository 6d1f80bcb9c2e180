"""What the commands on pictures share: folders, the pictures' files, and with what is computed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynlab.command_line.parser import Parser
from dynlab.images.settings import OWN_PICTURES, SPEECH
from dynlab.tools.checks import require
from dynlab.tools.files import FolderError

if TYPE_CHECKING:
    from dynlab.images.comparison import all_methods, runs
    from dynlab.images.data.datasets import ImageSet
    from dynlab.images.settings import Pretraining
    from dynlab.sounds.speech_set import SpeechSet

# Options of settings that only speech has: (words, name of the value).
HELP_OF_SPEECH = {
    "pattern": ("of speech: how files are named, or a CSV (default {label}_{speaker}_{index})", "PATTERN"),
    "held_out": ("of speech: recordings to test on, as index=0-4+speaker=a,b or every=5", "CONDITIONS"),
    "rate": ("of speech: samples a second, 8000 or 16000 (default 8000)", "HZ"),
    "bands": ("of speech: mel bands, 40 or 80 (default 40)", "N"),
    "joined": ("of speech: recordings of a speaker are joined to so many seconds (default 3)", "SECONDS"),
}
NAMED = 5  # files that could not be read, of those that are counted


def add_files(p: Parser) -> None:
    """Add --download and --no-verify."""
    p.add_argument("--download", action="store_true", help="fetch the files into --data first, from their official address")
    p.add_argument("--no-verify", action="store_true", help="leave out the comparison with known md5 sums")


def add_computing(p: Parser) -> None:
    """Add --device and --threads."""
    p.option("--device", "of cpu, cuda, auto", "cpu", "NAME")
    p.option("--threads", "threads to compute with (default: all cores)")


def check_folders(arguments: argparse.Namespace, *names: str) -> None:
    """SettingError where a folder is given without a name."""
    for name in names:
        require(getattr(arguments, name) != "", name, "", "the name of a folder")


def fetched(dataset: str, data: Path, wanted: bool, quiet: bool) -> None:
    """The files of a set of pictures in the folder `data`, from their official address, where that is wanted."""
    if wanted:
        require(
            dataset not in (*OWN_PICTURES, SPEECH),
            "download",
            True,
            f"left out with --dataset {dataset}, whose files are yours",
        )
        from dynlab.images.data.download import fetch

        fetch(dataset, data, quiet=quiet)


def look_first(settings: all_methods.Settings | runs.Settings, base: Pretraining) -> None:
    """Look at the device and the folder of a comparison whose runs have the settings `base`, and fetch what they see."""
    from dynlab.images.ops import ops_of

    ops_of(settings.device, settings.threads)
    if base.dataset == SPEECH:
        require(settings.device.where == "cpu", "device", settings.device.asked, f'cpu with dataset "{SPEECH}"')
    if settings.out.exists() and not settings.out.is_dir():
        raise FolderError(settings.out, "holds a file; must be a folder")
    fetched(base.dataset, settings.data, settings.download, settings.quiet)


def pictures_to_compare_on(
    settings: all_methods.Settings | runs.Settings, base: Pretraining
) -> tuple[ImageSet, ImageSet]:  # fmt: skip
    """(train, test) of a comparison whose runs see the pictures of `base`; its device and folder are looked at first."""
    from dynlab.images.data.own_pictures import picture_side
    from dynlab.images.worth import representations

    look_first(settings, base)
    data = representations.labelled(base.dataset, settings.data, None, settings.verify, side=picture_side(base))
    say_how_taken(data, settings.quiet)
    return data


def speech_to_hear(settings: all_methods.Settings, base: Pretraining) -> tuple[SpeechSet]:
    """(The recordings,) of a comparison on speech; its device and folder are looked at first."""
    from dynlab.sounds.speech_comparison import speech_to_compare_on

    look_first(settings, base)
    data = speech_to_compare_on(base, settings.data)
    say_how_taken(data, settings.quiet)
    return data


def training_part(settings: Pretraining, data: str | Path, verify: bool, quiet: bool) -> Any:
    """What is trained on, from files; says how they were taken and which could not be read."""
    if settings.dataset == SPEECH:
        from dynlab.sounds.speech_set import load_speech

        found: Any = load_speech(settings, data)
    else:
        from dynlab.images.data import own_pictures

        side = own_pictures.picture_side(settings)
        found = own_pictures.pictures_of(settings.dataset, data, split_of(settings), side=side, verify=verify, quiet=quiet)
    say_how_taken((found,), quiet)
    return found


def split_of(settings: Pretraining) -> str:
    """The part of the pictures that is trained on."""
    return "unlabelled" if settings.dataset == "stl10" else "train"


def say_how_taken(parts: Sequence[ImageSet | SpeechSet], quiet: bool) -> None:
    """Say on standard error how pictures of one's own were taken, unless quiet, and in any case which could not be read."""
    lines = [] if quiet else [note for part in parts for note in part.notes]
    for part in parts:
        bad = part.left_out
        if bad:
            more = f", and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
            total = len(bad) + getattr(part, "files", len(part))  # of speech several files make what is trained on
            lines.append(f"{len(bad)} of {total} files cannot be read and are skipped: {', '.join(bad[:NAMED])}{more}")
    for line in dict.fromkeys(lines):
        print(line, file=sys.stderr, flush=True)
