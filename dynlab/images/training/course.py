r"""What changes from step to step of pretraining by a schedule: functions of the settings and of the step alone.

With k the step, counted from 0, of K in all, and s(k) a schedule's factor (`dynlab.tools.schedules`: 1 at the start,
"cosine" falls to 0 at K along half a cosine, "step" by `drop` at each of `milestones`), what starts at a and leads to b is

    b + (a - b) s(k).

    rate            a = lr, b = lr_last; the first `warm_up` epochs rise linearly to a, and s runs over the other steps
    head's rate     the same times head_lr, by `head_schedule` where it has its own (SimSiam's stays as it is)
    weight decay    a = weight_decay, b = decay_last, over all steps (DINO's, by a cosine from 0.04 to 0.4)
    moving average  a = target_momentum, b = target_last, over all steps. BYOL's 1 - (1 - tau) (cos(pi k/K) + 1)/2 is the
                    cosine that leads to 1 (Grill et al. 2020)
    DINO's teacher  its temperature goes linearly from teacher_start to teacher_temperature over the first `teacher_warm_up`
                    epochs; its prototypes stay as they are for `freeze_prototypes` epochs (Caron et al. 2021)
"""

from __future__ import annotations

from typing import Any

from dynlab.images.settings import Pretraining
from dynlab.tools.schedules import schedule_factor


class Course:
    """The schedules of a run of `total` steps, `epoch_steps` of them an epoch."""

    def __init__(self, settings: Pretraining, epoch_steps: int, total: int) -> None:
        self.settings, self.epoch_steps, self.total = settings, epoch_steps, total
        self.warm_up = min(round(settings.warm_up * epoch_steps), total)

    def rate(self, step: int) -> float:
        """The learning rate of a step."""
        return self._rate(self.settings.schedule, step)

    def head_rate(self, step: int) -> float:
        """The head's."""
        return self.settings.head_lr * self._rate(self.settings.head_schedule or self.settings.schedule, step)

    def weight_decay(self, step: int) -> float:
        """The weight decay of a step; the head has its own, which stays."""
        s = self.settings
        return self._between(s.weight_decay, s.decay_last, self._factor(s.decay_schedule, step))

    def target_momentum(self, step: int) -> float:
        """The momentum of the moving average after a step."""
        s = self.settings
        return self._between(s.target_momentum, s.target_last, self._factor(s.target_schedule, step))

    def teacher_temperature(self, step: int) -> float:
        """DINO's temperature of the teacher in a step."""
        s, warm = self.settings, round(self.settings.teacher_warm_up * self.epoch_steps)
        if s.teacher_start is None or step >= warm:
            return s.teacher_temperature
        return s.teacher_start + (s.teacher_temperature - s.teacher_start) * (step / warm)

    def moves(self, part: str, step: int) -> bool:
        """Whether a part is trained in a step: the prototypes are not at first."""
        return part != "prototypes" or step >= round(self.settings.freeze_prototypes * self.epoch_steps)

    def _rate(self, schedule: str, step: int) -> float:
        s, factor = self.settings, self._factor(schedule, step, self.warm_up)
        return s.lr * factor if step < self.warm_up else self._between(s.lr, s.lr_last, factor)

    def _factor(self, schedule: str, step: int, warm_up: int = 0) -> float:
        more: dict[str, Any] = {}
        if schedule == "step":
            more = {"milestones": self.settings.milestones, "drop": self.settings.drop}
        return schedule_factor(schedule, step, self.total, warm_up, **more)

    @staticmethod
    def _between(start: float, last: float, factor: float) -> float:
        """From start (factor 1) to last (factor 0); start itself at 1."""
        return start if factor == 1.0 else last + (start - last) * factor
