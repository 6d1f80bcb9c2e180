"""Profiles of hypothesis, and what a run of the tests says at its end.

Hypothesis: "ci" (the default) draws the same examples every time; "explore" searches further, with DYNLAB_EXAMPLES
examples a test. Choose with the environment variable HYPOTHESIS_PROFILE.

DYNLAB_TIMES=1 prints the seconds of the tests of each folder. DYNLAB_MOST_SKIPPED=N fails a run that skips more than N
tests: what is skipped everywhere is tested nowhere.
"""

import os
import signal
from collections import Counter

from hypothesis import HealthCheck, settings

# A shell starts what it runs in the background with interrupts ignored, and so would be what a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

slow = [HealthCheck.too_slow, HealthCheck.filter_too_much]
settings.register_profile("ci", derandomize=True, deadline=None, database=None, max_examples=50, suppress_health_check=slow)
settings.register_profile(
    "explore", deadline=None, max_examples=int(os.environ.get("DYNLAB_EXAMPLES", "2000")), print_blob=True,
    suppress_health_check=slow,
)  # fmt: skip
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


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
        seconds, tests = Counter(), Counter()
        for report in (one for kind in terminalreporter.stats.values() for one in kind if hasattr(one, "duration")):
            folder = report.nodeid.partition("::")[0].rpartition("/")[0]
            seconds[folder] += report.duration
            tests[folder] += report.when == "call"
        terminalreporter.section("time by folders")
        for folder, spent in seconds.most_common():
            terminalreporter.line(f"{spent:8.1f} s  {tests[folder]:5} tests  {folder}")
    if said := getattr(config, "too_many_skipped", None):
        terminalreporter.section("skipped")
        terminalreporter.line(said, red=True)
