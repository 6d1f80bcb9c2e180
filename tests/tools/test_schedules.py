"""Schedules of a learning rate, by values worked out by hand."""

import pytest

from dynlab.tools.checks import SettingError
from dynlab.tools.schedules import schedule_factor


def test_schedules():
    steps = 100
    cosine = [schedule_factor("cosine", i, steps) for i in range(steps)]
    assert cosine[0] == 1.0 and cosine[50] == pytest.approx(0.5) and cosine == sorted(cosine, reverse=True)
    assert schedule_factor("cosine", steps, steps, last=0.1) == pytest.approx(0.1)
    assert [schedule_factor("constant", i, steps) for i in (0, 99)] == [1.0, 1.0]
    drops = [schedule_factor("step", i, steps, milestones=(0.5, 0.75), drop=0.2) for i in (49, 50, 74, 75)]
    assert drops == pytest.approx([1.0, 0.2, 0.2, 0.04])
    warm = [schedule_factor("cosine", i, steps, warm_up=10) for i in (0, 4, 9, 10, 55)]
    assert warm == pytest.approx([0.1, 0.5, 1.0, 1.0, 0.5])


@pytest.mark.parametrize(
    "arguments, settings, word",
    [
        (("linear", 0, 10), {}, "schedule='linear'"),
        (("constant", 0, 10), {"drop": 2}, "schedule="),
        (("cosine", 0, 10), {"warm_up": 11}, "warm_up=11"),
    ],
)
def test_what_is_refused(arguments, settings, word):
    with pytest.raises(SettingError, match=word) as raised:
        schedule_factor(*arguments, **settings)
    assert "\n" not in str(raised.value)
