"""Bad input, drawn: options and words that are wrong, and files that are damaged, for commands called in one process.

    python -m tests.faults.fuzz options|files|sizes|advice|divergence|newest|marked|scalars NAME SEED COUNT

(`sizes`: absurd ones for every option that counts something; `advice`: what the answers suggest, followed; the last four:
`tests.faults.kinds`) prints, as JSON, how many inputs were refused and accepted, and a line for every answer that is not as
it must be. Work behind an accepted input is not done: what would do it is replaced and says that it was reached.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import random
import re
import shlex
import shutil
import signal
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.commands import READING, STUBS, TABLE, Command

MOST = 120  # seconds of the processor after which a command is taken to compute what it should have refused
VALUES = (
    "", " ", "nan", "inf", "-inf", "1e309", "-1", "-1e-3", "0", "1e-400", "1e12", "9" * 30, "9" * 5000, "0x10", "1_000", "½",
    "٣", "\udcff\udcfe", "é" * 50, "a" * 3000, "1,2", "1,,2", ",", "1;2", "-", "None", "true", "[]", "{}", "1e3.5", "1.5",
    "..", "file", "file/below", "full", "busy", "missing/below", "a\nb", "0.3\n0.4", "\t", "%s", "%(prog)s", "{0}", "'", "=",
    "x=", "x=1:2", "weak=0:1:1000000000000", "weak=nan:1:3", "weak=1:0:3:log", "w21=5:1", "w21=nan:nan", "E12=x", "8,8,-3",
    "1e400", "~", "~/x", "~no-such-user/x", "16.0", "1e2", "\ufeff1",
)  # fmt: skip
HUGE = ("1" + "0" * 20, "9223372036854775808", "1" + "0" * 32, "1e300", "-1" + "0" * 20)
WORDS = ("stray", "--colour", "--colour=red", "-x", "--", "\udcff", "é", "--é", "---", "--=", "-", "a" * 2000)


class Reached(BaseException):
    """Work was about to begin: the input was accepted."""


@dataclass
class Answer:
    """What a call gave: status (None: accepted), standard output, standard error, warnings, or an exception's text."""

    status: int | None
    out: str
    errors: str
    warned: list[str]
    trouble: str = ""


@dataclass
class Report:
    """Counts, and a line for each answer that is wrong."""

    refused: int = 0
    accepted: int = 0
    wrong: list[str] = field(default_factory=list)


def main(words: list[str]) -> int:
    """Run the command."""
    kind, name, seed, count = words
    home = Path.cwd().with_name("home")
    home.mkdir(exist_ok=True)
    os.environ["HOME"] = str(home)
    from tests.faults import kinds as more

    kinds = {"options": options, "files": files, "sizes": sizes, "advice": advice}
    kinds |= {"divergence": more.divergence, "newest": more.newest, "marked": more.marked, "scalars": more.scalars}
    made = kinds[kind](name, random.Random(int(seed)), int(count))
    print(json.dumps(vars(made)))
    return 0


def options(name: str, draw: random.Random, count: int) -> Report:
    """Draw words until `count` of them were refused; the desk is the working folder."""
    command, report = TABLE[name], Report()
    names = option_names(command)
    template = keep_template()
    stub(STUBS[name])
    while report.refused < count and report.refused + report.accepted < 4 * count and len(report.wrong) < 10:
        words = mutated(command.words.split(), names, draw)
        before = state()
        answer = call(command, words)
        judge(report, command, answer, words, words, before == state())
        if before != state():
            restore(template)
    return report


def sizes(name: str, draw: random.Random, count: int) -> Report:
    """Give every option that takes a whole number sizes beyond 64 bits: each is refused, whatever the option counts."""
    command, report = TABLE[name], Report()
    names = option_names(command)
    template = keep_template()
    stub(STUBS[name])
    for option in names:
        if not whole(command, option):
            continue
        for size in HUGE:
            before = state()
            words = [*command.words.split(), f"{option}={size}"]
            answer = call(command, words)
            judge(report, command, answer, words, words, before == state())
            if answer.status is None or answer.status == 0:
                report.wrong.append(f"{option}={size}: was accepted")
            if before != state():
                restore(template)
    return report


def whole(command: Command, option: str) -> bool:
    """Whether an option takes a whole number: half of one is refused, as no integer."""
    answer = call(command, [*command.words.split(), f"{option}=2.5"])
    return bool(answer.status) and "an integer" in answer.errors


SUGGESTED = re.compile(r"(\S+) (?:\S+): must be (one of|some of|an axis of) ([\w., -]+?)(?:; did you mean (\S+)\?|$)")
MISTYPED = re.compile(r"unrecognized arguments: (\S+).*; did you mean (\S+)\?")


def advice(name: str, draw: random.Random, count: int) -> Report:
    """Follow what the answers suggest: words that an option is said to take, it takes; options meant, there are."""
    command, report = TABLE[name], Report()
    base, names = command.words.split(), option_names(command)
    template = keep_template()
    stub(STUBS[name])
    for option in dict.fromkeys(names):
        mistyped = option[:-1] + "qx"
        found = MISTYPED.search(call(command, [*base, mistyped, "1"]).errors)
        if found is not None:
            follow(report, command, [*base, found[2], "1"], f"unrecognized arguments: {found[2]}")
        answer = call(command, [*base, f"{option}=nonsense"])
        said = SUGGESTED.search(" ".join(answer.errors.split()))
        for word in [] if said is None else said[3].removesuffix(", with commas").partition(", which ")[0].split(", "):
            axis = f"{word}=1:2:2" if "an axis of" in said[0] else word
            follow(report, command, [*base, f"{option}={axis}"], f"{option} {axis}: must be {said[2]}")
            near = call(command, [*base, f"{option}={word[:-1]}"]).errors
            if "did you mean" in near:
                meant = near.rpartition("did you mean ")[2].partition("?")[0]
                follow(report, command, [*base, f"{option}={meant}"], f"{option} {meant}: must be one of")
        restore(template)
    return report


def follow(report: Report, command: Command, words: list[str], unwanted: str) -> None:
    """Do as was advised; an answer that holds `unwanted` says that it cannot be done."""
    answer = call(command, words)
    report.accepted += 1
    if unwanted in " ".join(answer.errors.split()) or answer.trouble:
        report.wrong.append(f"{shlex.join(words)}: {answer.errors or answer.trouble}")


def files(name: str, draw: random.Random, count: int) -> Report:
    """Damage a file `count` times, among those that the command reads; the desk is the working folder."""
    reading, report = READING[name], Report()
    command = TABLE[reading.command]
    template = keep_template()
    stub(reading.stubs)
    targets = sorted(path for pattern in reading.files for path in Path().glob(pattern))
    assert targets, os.listdir()
    for number in range(count):
        path = targets[number % len(targets)]
        how = damaged(path, draw, targets)
        before = state()
        words = [*command.words.split(), *reading.more]
        answer = call(command, words)
        judge(report, command, answer, [f"{path} {how}", *words], [path.name, path.parent.name], before == state())
        restore(template)
    return report


def option_names(command: Command) -> list[str]:
    """The command's options, from its help."""
    base = command.words.split()
    words = ["--method", "sgd", "--help"] if "sgd" in base else ["--help"]
    answer = call(command, words)
    assert answer.status == 0, answer
    return re.findall(r"^  (--[a-z-]+)", answer.out, re.MULTILINE)


def mutated(base: list[str], names: list[str], draw: random.Random) -> list[str]:
    """Words made wrong in one way, now and then in two."""
    words = list(base)
    for _ in range(draw.choice((1, 1, 1, 2))):
        option, value, at = draw.choice(names), draw.choice(VALUES), draw.randrange(len(words) + 1)
        match draw.randrange(10):
            case 0 | 1 | 2:
                words += [f"{option}={value}"]
            case 3 | 4:
                words += [option, value]
            case 5:
                words.insert(at, draw.choice(WORDS))
            case 6:
                place = draw.randrange(2, len(option))
                words += [option[:place] + draw.choice(("", "x", "-", option[place - 1])) + option[place + 1 :], "1"]
            case 7:
                words += [option]
            case 8:
                words += [option, draw.choice(names)]
            case 9:
                words[at : at + 1] = [value]
    return words


def named(line: str, words: list[str]) -> bool:
    """Whether a line names an option or a value among the words, as it was typed or with its odd characters escaped."""
    parts = [part for word in words for part in (word, *word.split("=", 1), *word.split(","), word.rpartition("=")[2])]
    parts += [os.path.expanduser(part) for part in parts if part.startswith("~")]
    typed = [" ".join(part.split()) for part in parts]
    flat = " ".join(line.split())
    blank = "" in typed and ("''" in flat or flat.endswith("unrecognized arguments:"))
    blank = blank or any(repr(part) in flat for part in parts if part and not part.strip())
    return blank or "are required: " in flat or any(part in flat or repr(part)[1:-1] in flat for part in typed if part)


def call(command: Command, words: list[str]) -> Answer:
    """Call the command's `main` in this process."""
    out, errors = io.StringIO(), io.StringIO()
    status, trouble = None, ""

    def late(*_):
        raise TimeoutError("no answer: it computes")

    previous = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, MOST)
    try:
        with (
            warnings.catch_warnings(record=True, action="always") as warned,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(errors),
        ):
            status = importlib.import_module(command.module).main(words)
    except Reached:
        status = None
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1 if end.code else 0
    except Exception as error:
        trouble = f"{type(error).__name__}: {error}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)
    return Answer(status, out.getvalue(), errors.getvalue(), [str(one.message) for one in warned], trouble)


def judge(report: Report, command, answer: Answer, words, given, unchanged: bool) -> None:
    """Count the answer, and say what is wrong with it."""
    wrong = []
    if answer.trouble:
        wrong.append(answer.trouble)
    elif answer.status is None or answer.status == 0:
        report.accepted += 1
        if "Traceback" in answer.errors:
            wrong.append("a traceback")
    else:
        report.refused += 1
        lines = answer.errors.splitlines()
        checks = {
            f"status {answer.status}": answer.status in (1, 2),
            f"{len(lines)} lines": len(lines) == 1,
            "does not begin with the command's name": answer.errors.startswith(f"{command.program}: error: "),
            "words on standard output": answer.out == "",
            "the disk is changed": unchanged,
            "names nothing of what was given": named(answer.errors, given),
        }
        wrong += [what for what, holds in checks.items() if not holds]
    if any(path.name.startswith("~") for path in Path().iterdir() if not answer.errors):
        wrong.append("a folder called ~")
    if answer.warned:
        wrong.append(f"warnings: {answer.warned}")
    if wrong:
        shown = shlex.join(word if len(word) < 80 else f"{word[:40]}...({len(word)})" for word in words)
        report.wrong.append(f"{'; '.join(wrong)}: {shown!a}: {answer.errors[-300:]!a}")


def stub(names: tuple[str, ...]) -> None:
    """Replace functions, "module:name" each, by one that raises Reached."""

    def reached(*_, **__):
        raise Reached

    for name in names:
        place, _, path = name.partition(":")
        *owners, last = path.split(".")
        owner = importlib.import_module(place)
        for one in owners:
            owner = getattr(owner, one)
        getattr(owner, last)  # must be there, or nothing would be replaced
        setattr(owner, last, reached)


def damaged(path: Path, draw: random.Random, others: list[Path]) -> str:
    """Damage a file in some way; which, in words."""
    content = path.read_bytes()
    ways = ("flip", "flip", "cut", "cut", "empty", "swap", "folder", "json", "json", "json", "text", "longer", "marked")
    how = draw.choice(ways)
    if how == "flip":
        flipped = bytearray(content)
        for _ in range(draw.choice((1, 1, 20))):
            flipped[draw.randrange(len(flipped))] ^= 1 << draw.randrange(8)
        path.write_bytes(flipped)
    elif how == "cut":
        path.write_bytes(content[: draw.randrange(len(content))])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "longer":
        path.write_bytes(content + b"\0\xff{}")
    elif how == "swap":
        path.write_bytes(draw.choice(others).read_bytes())
    elif how == "folder":
        path.unlink()
        path.mkdir()
    elif how == "marked":
        path.write_bytes(b"\xef\xbb\xbf" + content)
    elif how == "text":
        path.write_text("text, not what was there\n")
    else:
        path.write_text(draw.choice(("null", "[]", "3", '"x"', "{}", json_changed(content, draw))))
    return how


def json_changed(content: bytes, draw: random.Random) -> str:
    """The JSON of a file with one of its values of another type, or missing."""
    try:
        data = json.loads(content)
    except ValueError:
        return "{]"
    if not isinstance(data, dict) or not data:
        return "[[]]"
    owner = data
    while True:
        name = draw.choice(sorted(owner))
        if isinstance(owner[name], dict) and owner[name] and draw.random() < 0.8:
            owner = owner[name]
            continue
        if draw.random() < 0.3:
            del owner[name]
        else:
            owner[name] = draw.choice((None, [], {}, "x", -1, 1e308, True, [[1]]))
        return json.dumps(data)


def state() -> dict[str, tuple | None]:
    """Files below the working folder with their content, folders with None."""
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(Path().rglob("*"))}


def keep_template() -> Path:
    """Copy the working folder beside itself."""
    here = Path.cwd()
    return Path(shutil.copytree(here, here.with_name(f"{here.name}-template")))


def restore(template: Path) -> None:
    """Make the working folder what it was."""
    for path in Path().iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    shutil.copytree(template, Path(), dirs_exist_ok=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
