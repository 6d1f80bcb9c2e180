"""Profiles of hypothesis, and what a run of the tests says at its end.

Hypothesis: "ci" (the default) draws the same examples every time; "explore" searches further, with DYNLAB_EXAMPLES
examples a test. Choose with the environment variable HYPOTHESIS_PROFILE. Hypothesis also draws constants that it reads in
the sources which happen to be loaded and are not installed; here it does not, so that a test draws the same examples in a
clone and beside an installed wheel, alone and after others (tests/architecture/test_draws.py).

DYNLAB_TIMES=1 prints the seconds of the tests of each folder. DYNLAB_MOST_SKIPPED=N fails a run that skips more than N
tests: what is skipped everywhere is tested nowhere.
"""

import os
import signal
from collections import Counter

from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

# A shell starts what it runs in the background with interrupts ignored, and so would be what a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

slow = [HealthCheck.too_slow, HealthCheck.filter_too_much]
settings.register_profile("ci", derandomize=True, deadline=None, database=None, max_examples=50, suppress_health_check=slow)
settings.register_profile(
    "explore", deadline=None, max_examples=int(os.environ.get("DYNLAB_EXAMPLES", "2000")), print_blob=True,
    suppress_health_check=slow,
)  # fmt: skip
providers.is_local_module_file = lambda path: False
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


# Files that take long, the longest first: a worker that begins one of them last would be waited for by the others. Each
# worker begins with one of the first, and the others in turn follow: they compile different kernels (of pictures, of any
# training, for CUDA, of the pair, of samples), so that none is compiled twice. Faults need them all, and come later.
FIRST = (
    "images/cuda/test_simulator.py", "population/any_training/test_stability.py", "machine/gpu/test_compile.py",
    "images/cuda/test_compile.py", "figures/", "samples/", "images/", "faults/", "machine/gpu/", "maps/", "population/",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    """Long files first; workers take files in this order (--no-loadscope-reorder)."""

    def rank(item):
        file = item.nodeid.partition("::")[0].removeprefix("tests/")
        return next((place for place, name in enumerate(FIRST) if file.startswith(name)), len(FIRST))

    items.sort(key=rank)


def pytest_sessionfinish(session, exitstatus):
    """Fail where too many tests were skipped; a worker, which sees but a part of them, does not count."""
    most, reporter = os.environ.get("DYNLAB_MOST_SKIPPED"), session.config.pluginmanager.get_plugin("terminalreporter")
    if most is None or reporter is None or hasattr(session.config, "workerinput"):
        return
    skipped = len(reporter.stats.get("skipped", ()))
    if skipped > int(most) and exitstatus in (0, 1):
        session.exitstatus = 1
        session.config.too_many_skipped = f"{skipped} tests were skipped, and DYNLAB_MOST_SKIPPED allows {most}"


def pytest_terminal_summary(terminalreporter, config):
    """The seconds of the tests by folders, and what is wrong with the number of those skipped."""
    if os.environ.get("DYNLAB_TIMES") == "1":
        reports = [one for kind in terminalreporter.stats.values() for one in kind if hasattr(one, "duration")]
        files = [one.nodeid.partition("::")[0] for one in reports]
        _times(terminalreporter, "time by folders", reports, [file.rpartition("/")[0] for file in files])
        _times(terminalreporter, "the files that take longest", reports, files, 30)
    if said := getattr(config, "too_many_skipped", None):
        terminalreporter.section("skipped")
        terminalreporter.line(said, red=True)


def _times(terminalreporter, title, reports, groups, most=None):
    """A section with the seconds of the reports by their groups."""
    seconds, tests = Counter(), Counter()
    for report, group in zip(reports, groups, strict=True):
        seconds[group] += report.duration
        tests[group] += report.when == "call"
    terminalreporter.section(title)
    for group, spent in seconds.most_common(most):
        terminalreporter.line(f"{spent:8.1f} s  {tests[group]:5} tests  {group}")
