"""Any list or grid of settings of run, sgd or pretrain, as one command and one table.

    python -m dynlab.sweep FILE.toml --processes 2

computes every point of the file (`dynlab.sweeps.sweep_plan`), here, by several processes, or by a Dask cluster, and writes
sweep.csv, a row a point. Stopped in any way, the same command goes on: points that are finished are not repeated.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from dynlab.command_line import executors
from dynlab.command_line.configuration import option_words
from dynlab.command_line.names import COMMANDS
from dynlab.command_line.options import add_parquet, announce
from dynlab.command_line.parser import Parser, number_of, run_and_tell
from dynlab.command_line.pictures import add_computing, add_files, check_folders, fetched
from dynlab.machine.device import Device, chosen
from dynlab.sweeps.sweep_plan import SweepPlan, sweep_plan
from dynlab.tools.callable_module import make_callable
from dynlab.tools.checks import SettingError, available_threads, nearest, require, threads
from dynlab.tools.files import expanded
from dynlab.tools.parquet import check_parquet
from dynlab.tools.provenance import Call

if TYPE_CHECKING:
    from dynlab.sweeps.swept import SweepPoint, Swept

PROGRAM = "dynlab.sweep"
# Options of the swept commands that are no settings of a point: the sweep's own, or of a run in its own folder.
NO_SETTINGS = (
    "config", "set", "help", "out", "no_plots", "quiet", "threads", "device", "parquet", "checkpoints", "every", "resume",
    "download", "no_verify",
)  # fmt: skip
NO_SETTINGS_OF = {"run": (), "sgd": ("method",), "pretrain": ("data",)}
# A point is one of these, where the command compares several unless it is told otherwise.
ONE = {"run": {"activation": "cubic"}, "sgd": {"activation": "cubic", "head": "off-diagonal"}, "pretrain": {}}
SINGLE = {"run": ("activation",), "sgd": ("activation", "head", "batch"), "pretrain": ()}


@dataclass(frozen=True)
class Settings:
    """The settings of the command, checked. device: of pretraining; the points of other commands have their own."""

    plan: SweepPlan
    points: tuple[SweepPoint, ...]
    out: Path
    data: Path
    download: bool
    verify: bool
    device: Device
    threads: int
    processes: int
    dask: str | None
    parquet: bool
    quiet: bool


def sweep(
    plan: str | Path | Mapping[str, Any], out: str | Path | None = None, *, processes: int = 1, dask: str | None = None,
    executor: Executor | None = None, data: str | Path | None = None, verify: bool = True, device: str = "cpu",
    threads: int | None = None, parquet: bool = False, quiet: bool = True,
) -> Swept:  # fmt: skip
    """Compute every point of a list or grid of settings of `dynlab run`, its minibatches, or `dynlab pretrain`.

    Parameters
    ----------
    plan : path or mapping
        A TOML file, or a mapping with the same keys: command ("run", "sgd" or "pretrain"), settings (of every point), grid
        (lists by name, of which every combination is a point), points (a list of settings); names are those of the command's
        options (`dynlab.sweeps.sweep_plan`). A point of "run" is one ensemble, of "sgd" the runs of one batch size from one
        start: activation cubic and head off-diagonal unless it says otherwise.
    out : path, optional
        Folder where finished points are kept: the same call, stopped in any way, or one with more points, goes on there.
        None: they are kept nowhere.
    processes : int
        Processes of this machine that share the points; a script must guard its call by `if __name__ == "__main__"`.
    dask, executor :
        Address of a Dask scheduler, or an executor of `concurrent.futures` of your own, whose workers compute instead.
    data, verify :
        Of pretraining: folder of the pictures' files (None: data), and whether these are compared with their md5 sums.
    device : "cpu", "cuda" or "auto".
    threads : int, optional
        Of each process (None: the cores shared among them). No result depends on it.
    parquet, quiet :
        Whether sweep.parquet is written too (extra `arrays`); whether nothing is printed.

    Returns
    -------
    Swept : `.frame` has a row a point: its settings, status and reason, results.

    Raises SettingError for a plan that cannot be run, naming the point; `dynlab.tools.files.FolderError` for a folder not
    to be had.
    """
    check_parquet(parquet)
    with ExitStack() as stack:
        kept = out is not None
        place = expanded(out) if out is not None else Path(stack.enter_context(TemporaryDirectory(prefix="dynlab-sweep-")))
        sharing = {"processes": processes, "dask": dask, "threads": threads, "device": device}
        files = {"data": data, "download": False, "verify": verify, "parquet": parquet, "quiet": quiet}
        settings = _settings(sweep_plan(plan), place, executor, **sharing, **files)
        return _computed(settings, executor, None, place if kept else None)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 1 also where a point failed or diverged."""
    call = parser().call(argv)
    return run_and_tell(call, lambda: run(check(call.arguments), call))


def run(settings: Settings, call: Call) -> list[str]:
    """Compute what is missing, write, print; a line for each point that did not finish."""
    found = _computed(settings, None, call, settings.out)
    for line in found.damage:
        print(line, file=sys.stderr)
    if not settings.quiet:
        print(found.readable().to_string(index=False, float_format=lambda x: f"{x:.4g}", na_rep=""))
        files = ", ".join(sorted(path.name for path in settings.out.iterdir() if path.is_file() and path.name[0] != "."))
        print(f"{found.computed} of {len(found.frame)} points computed now; files in {settings.out}: {files}", flush=True)
    return found.troubles()


def check(arguments: argparse.Namespace) -> Settings:
    """Turn the words of the command line, and the file, into settings; SettingError names the first that is not allowed."""
    check_folders(arguments, "out", "data")
    check_parquet(arguments.parquet)
    sharing = {name: number_of(getattr(arguments, name)) for name in ("processes", "threads")}
    plan = sweep_plan(arguments.plan)
    out = expanded(arguments.out if arguments.out is not None else f"runs/sweep-{Path(arguments.plan).stem}")
    return _settings(
        plan, out, None, dask=arguments.dask, device=arguments.device, data=arguments.data,
        download=arguments.download, verify=not arguments.no_verify, parquet=arguments.parquet, quiet=arguments.quiet,
        **sharing,
    )  # fmt: skip


def _settings(plan: SweepPlan, out: Path, pool: Executor | None, **given: Any) -> Settings:
    where = chosen(given["device"])
    count = executors.check_sharing(given["processes"], given["dask"], where)
    require(where.where == "cpu" or pool is None, "device", where.asked, "cpu with --dask")
    used = threads(given["threads"] if given["threads"] is not None else max(1, available_threads() // count))
    points = sweep_points(plan, given["device"], used)
    for name, unasked in (("data", None), ("download", False), ("verify", True)):
        read = plan.command == "pretrain" or given[name] == unasked
        require(read, name, given[name], f"left out for a sweep of {plan.command}, which reads no pictures")
    data = expanded("data" if given["data"] is None else given["data"])
    rest = {name: given[name] for name in ("download", "verify", "dask", "parquet", "quiet")}
    return Settings(plan, points, out, data, device=where, threads=used, processes=count, **rest)


def sweep_points(plan: SweepPlan, device: str = "cpu", threads: int = 1) -> tuple[SweepPoint, ...]:
    """The points of a plan, each looked at by its command's own parser; SettingError names the first that cannot be run."""
    from dynlab.sweeps.sweep_folder import point_key
    from dynlab.sweeps.swept import SweepPoint

    command, names = plan.command, plan.names()
    own, how = _parser_of(command), ["--quiet", "--no-plots", f"--threads={threads}", f"--device={device}"]
    allowed = own.by_name(left_out=(*NO_SETTINGS, *NO_SETTINGS_OF[command]))
    found: dict[str, SweepPoint] = {}
    for number, given in enumerate(plan.points):
        words = list(how)
        try:
            for name, value in {**ONE[command], **given}.items():
                words += _words(command, allowed, name, value)
            arguments = own.parse_args(words)
            settings, whole = _checked(command, arguments, list(allowed))
        except (SettingError, ValueError) as error:
            raise plan.refuse(f"a sweep whose points can be run: {plan.words(number)}: {error}") from None
        key, usual = point_key(command, whole), {**vars(arguments), **whole}
        if key in found:
            raise plan.refuse(f"a sweep whose points differ: {plan.words(number)} is {found[key].words} again")
        cells = {name: _cell(given.get(name, usual[name])) for name in names}
        found[key] = SweepPoint(cells, settings, whole, key, plan.words(number))
    return tuple(found.values())


def _parser_of(command: str) -> Parser:
    return _module_of("run").sampled_parser() if command == "sgd" else _module_of(command).parser()


def _module_of(command: str) -> Any:
    return import_module(COMMANDS[command][0])


def _words(command: str, allowed: Mapping[str, argparse.Action], name: str, value: Any) -> list[str]:
    """The words of a setting; ValueError of one line where it is none, or several where a point has one."""
    if name not in allowed:
        if name in (*NO_SETTINGS, *NO_SETTINGS_OF[command]):
            raise ValueError(f"{name}: is no setting of a point of {command}")
        raise ValueError(f"{name}: is no option of {command}{nearest(name, allowed)}")
    if name == "method" and value == "sgd":
        raise ValueError('method: minibatches are swept by command = "sgd"')
    try:
        words = option_words(allowed[name], value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    if name in SINGLE[command] and (len(words) != 1 or "," in words[0]):
        raise SettingError(name, value, "one in a point: several are a list in [grid]")
    return words


def _checked(command: str, arguments: argparse.Namespace, names: Sequence[str]) -> tuple[Any, dict[str, Any]]:
    """(settings as the command has checked them, all that decides the results, as JSON holds it)."""
    if command == "pretrain":
        made = _module_of(command).settings_of(arguments)
        return made, made.plain()
    if command == "run":
        settings: Any = _module_of(command).check(arguments)
    else:
        from dynlab.command_line import minibatches

        settings = minibatches.check(arguments)
    whole = {name: _canonical(getattr(arguments, name)) for name in names}
    return settings, whole | ({} if settings.device.where == "cpu" else {"device": settings.device.where})


def _canonical(value: Any) -> Any:
    """A value of an option, the same however it was typed: 1, 1.0 and 1e0 are one number."""
    if isinstance(value, list):
        return [_canonical(part) for part in value]
    number = number_of(value)
    return int(number) if isinstance(number, float) and number.is_integer() else number


def _cell(value: Any) -> Any:
    """A setting as a cell of the table: lists with commas, tables as JSON."""
    if isinstance(value, Mapping):
        return json.dumps(value)
    if isinstance(value, list):
        return ",".join(map(str, value)) if len(value) != 1 else _cell(value[0])
    return number_of(value)


def _computed(settings: Settings, given: Executor | None, call: Call | None, place: Path | None) -> Swept:
    """Compute what is missing, on the executor given or the one that the settings mean, and write the files."""
    from dynlab.machine.warm import compiling
    from dynlab.sweeps.point_results import SweepConditions
    from dynlab.sweeps.sweep_folder import RUNS, check_sweep_folder, sweep_folder
    from dynlab.sweeps.swept import Swept, compute_sweep, write_sweep
    from dynlab.tools.progress import progress

    plan, points, quiet = settings.plan, settings.points, settings.quiet
    trained, started = plan.command == "pretrain", time.perf_counter()
    of_python: dict[str, Any] = {"program": PROGRAM, "command": "dynlab.sweep(...)", "options": {}}
    facts = of_python if call is None else call.record()
    conditions = SweepConditions(
        settings.out / RUNS, settings.data, settings.verify, settings.device, settings.threads, facts["command"]
    )
    check_sweep_folder(settings.out)
    announce(settings.device if trained else points[0].settings.device, quiet)
    for dataset in dict.fromkeys(one.settings.dataset for one in points) if trained else ():
        fetched(dataset, settings.data, settings.download, quiet)
    with (
        executors.executor(settings.dask) as cluster,
        executors.processes(1 if cluster or given else settings.processes) as pool,
        sweep_folder(settings.out) as folder, compiling([], quiet), progress(len(points), "points", quiet) as show,
    ):  # fmt: skip
        _only_added_to(settings, folder.planned())
        folder.plan(plan.given, {one.key: one.words for one in points})
        frame, count = compute_sweep(plan.command, points, folder, conditions, given or cluster or pool, show)
        found = Swept(frame, plan.command, count, tuple(folder.damage), place)
        if place is not None:
            write_sweep(settings.out, found, facts, started if call is None else call.started, settings.parquet)
    return found


def _only_added_to(settings: Settings, before: Mapping[str, str]) -> None:
    """SettingError where the plan lacks a point of the sweep that the folder holds."""
    keys = {one.key for one in settings.points}
    lost = [words for key, words in before.items() if key not in keys]
    if lost:
        what = f"{len(lost)} are not in it, the first {lost[0]}"
        allowed = (
            f"a sweep with all points of the one in {settings.out}, and more as it likes ({what}), or given another folder"
        )
        raise settings.plan.refuse(allowed)


def parser() -> Parser:
    """The options. Values stay words here: `check` turns them into numbers and says what is allowed."""
    p = Parser(
        prog=PROGRAM,
        description="Compute every point of a list or grid of settings of run, sgd or pretrain, and write one table. "
        "Stopped in any way, the same command goes on where it was.",
        epilog="example: dynlab sweep grid.toml --processes 2",
    )
    p.add_argument("plan", metavar="FILE", help="TOML file: command, [settings], [grid] with lists, [[points]]")
    p.option("--processes", "processes of this machine that the points are shared among", "1")
    executors.add_dask(p)
    p.option("--out", "folder for the table and finished points (default runs/sweep-FILE)", metavar="DIR")
    p.option("--data", "folder with the pictures' files, for pretrain (default data)", metavar="DIR")
    add_parquet(p)
    add_files(p)
    add_computing(p)
    p.add_argument("--quiet", action="store_true", help="print nothing but errors, damage and points that failed")
    return p


make_callable(__name__, sweep)

if __name__ == "__main__":
    sys.exit(main())
