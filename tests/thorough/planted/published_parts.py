"""Plants faults in what published recipes need (optimisers, schedules, kinds of views, DINO), and shows which tests fail.

    python -m tests.thorough.planted.published_parts [NAME ...]

Works on a copy of the sources in a temporary folder (`planting`). The exit status is 1 if a fault is not caught, or if the
unchanged sources fail. Run on demand; pytest does not collect it.
"""

from __future__ import annotations

import sys

from tests.thorough.planting import Planting

TRAIN, COURSE, OPTIMISE = (f"dynlab/images/training/{name}.py" for name in ("train", "course", "optimise"))
LOSSES, SETTINGS, PIPELINES = (f"dynlab/images/{name}.py" for name in ("losses", "settings", "data/pipelines"))
PROTOTYPES, HEAD, KERNELS = (
    f"dynlab/images/{name}.py" for name in ("networks/prototypes", "networks/head", "data/view_kernels")
)
# name: (file, text as it stands, text with the fault)
FAULTS = {
    "AdamW's decay in its moments, too": (
        OPTIMISE, "self._by_moments(parameters, gradients, rate, 0.0)", "super()._step(parameters, gradients, rate)",
    ),
    "LARS' rates are never clipped": (OPTIMISE, "(self.trust / rate, 1.0)", "(self.trust / rate, math.inf)"),
    "gradients clipped by the square of their norm": (OPTIMISE, "most / norm)", "most / norm**2)"),
    "the head follows the encoder's schedule": (
        COURSE, "self.settings.head_schedule or self.settings.schedule", "self.settings.schedule",
    ),
    "the average warms up": (COURSE, "(s.target_schedule, step)", "(s.target_schedule, step, self.warm_up)"),
    "the decay warms up": (COURSE, "(s.decay_schedule, step)", "(s.decay_schedule, step, self.warm_up)"),
    "the decay stays where it starts": (TRAIN, "mover.weight_decay = course.weight_decay(step)", "pass"),
    "the second view as the first": (TRAIN, "(lines.first, lines.second)[view]", "(lines.first, lines.first)[view]"),
    "local views count half": (LOSSES, "d_online[part], 2.0 * share)", "d_online[part], share)"),
    "the centre divided by local views": (LOSSES, "ops.scale(self.sums, 1.0 / rows)", "ops.scale(self.sums, share)"),
    "a teacher that does not warm up": (
        LOSSES, "self.teacher_temperature, self.teacher", "settings.teacher_temperature, self.teacher",
    ),
    "prototypes with a gradient along themselves": (
        PROTOTYPES,
        "ops.unit_length_backward(self._d_directions, self._directions, self._sizes, self._d_matrix)",
        "ops.copy(self._d_directions, self._d_matrix)",
    ),
    "local views without a gradient": (
        TRAIN, "self.ops.axpy(1.0, part.gradients, self.networks.parts()[name].gradients)", "pass",
    ),
    "the teacher keeps its prototypes": (
        TRAIN, "self.ops.mix(1.0 - momentum, self.head.parameters, self.target_head.parameters)", "pass",
    ),
    "the last layer is never frozen": (COURSE, 'part != "prototypes" or', "True or"),
    "a checkpoint without the teacher's prototypes": (
        TRAIN,
        'kept |= {f"target_head/{name}": value for name, value in self.target_head.save().items()}',
        "pass",
    ),
    "local views as large as the others": (
        PIPELINES, "replace(usual_local(base), **local)", "replace(base, **local)",
    ),
    "solarised before the blur": (
        KERNELS,
        "        if p[views.SIGMA] > 0.0:\n            _fill_taps",
        "        if p[views.SOLARISE] > 0.0:\n            _solarise(planes.reshape(-1))\n"
        "            p[views.SOLARISE] = 0.0\n        if p[views.SIGMA] > 0.0:\n            _fill_taps",
    ),
    "a batch of two": (SETTINGS, 'self.batch > 2, "batch"', 'True, "batch"'),
    "a head set in every step": (HEAD, "        if not due:\n            return\n", ""),
}  # fmt: skip
STEPS = ("training/test_course.py", "training/test_dino.py")
TESTS = {
    TRAIN: STEPS, COURSE: STEPS,
    OPTIMISE: ("training/test_optimise.py",), LOSSES: ("test_published_values.py",), SETTINGS: ("training/test_course.py",),
    PIPELINES: ("data/test_pipelines.py",), PROTOTYPES: ("networks/test_prototypes.py",), HEAD: ("networks/test_head.py",),
    KERNELS: ("data/test_augment.py",),
}  # fmt: skip


def tests_of(name: str | None) -> list[str]:
    """The tests of the file that a fault is in; all of them for the sources as they are."""
    chosen = {file for files in TESTS.values() for file in files} if name is None else TESTS[FAULTS[name][0]]
    return ["--numprocesses=0", *(f"tests/images/{file}" for file in sorted(chosen))]


PLANTING = Planting("published_parts", FAULTS, tests_of, most=3)

if __name__ == "__main__":
    sys.exit(PLANTING.main(sys.argv[1:]))
