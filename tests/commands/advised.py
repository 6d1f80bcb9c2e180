"""The texts in dynlab's sources that tell a user what to do otherwise, found by their words."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ADVISES = re.compile(
    r"left out|given (?:with|for a)|\bgive\b|\banother\b|\buse \b|\bremove it|\bdelete it|fetch|(?<![\w-])--[a-z]|resume|"
    r"\binstall |did you mean|\bgo(?:es)? on with|\bsame command\b|by the method|\bTry\b|train for longer|\bdynlab [a-z]+ |"
    r"\binstead\b|\bin Python\b|\bgo on from|begin anew|as in |smaller"
)
HELP = ("option", "add_argument", "Parser")
"""Functions whose arguments are the pages of --help: what a command can do, not what to do otherwise."""


def advice(package: Path, left_out: tuple[str, ...] = ("docs", "figures")) -> list[tuple[str, str]]:
    """(module, text) of every string that advises, formatted values as braces; docstrings and help are none."""
    found = []
    for path in sorted(package.rglob("*.py")):
        place = path.relative_to(package)
        if place.parts[0] not in left_out:
            found += [(place.as_posix(), text) for text in texts(path.read_text(encoding="utf-8")) if ADVISES.search(text)]
    return found


def texts(source: str) -> Iterator[str]:
    """The strings of a module that can be printed and hold more than a word."""
    for node in _outside_help(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            text = "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        else:
            continue
        if " " in text.strip() or text.startswith("; "):
            yield text


def _outside_help(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes below one, without those inside docstrings, help and the parts of formatted strings."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
            continue
        if isinstance(child, ast.Call):
            name = child.func.attr if isinstance(child.func, ast.Attribute) else getattr(child.func, "id", "")
            if name in HELP:
                continue
        yield child
        if not isinstance(child, ast.JoinedStr):
            yield from _outside_help(child)


FOLLOWED = {
    "population/test_correlation.py": {"test_what_has_no_form_is_refused_in_a_line": ["left out for {}"]},
    "population/test_frequencies.py": {"test_the_command": ["left out with the group features"]},
    "commands/test_from_python.py": {
        "test_pretraining_from_python": ["the folder of the run that resume goes on with"],
    },
    "commands/test_advice.py": {
        "test_missing_pictures_are_fetched_by_the_option_that_is_named": ["; --download fetches it"],
        "test_missing_pictures_in_python": ["dynlab.images.data.download.fetch("],
        "test_a_run_that_has_not_ended_is_gone_on_with_by_the_command_that_is_said": [
            "dynlab pretrain --resume --out", "go on with it by:", "; --resume (in Python resume=True) goes on with it",
        ],
        "test_a_damaged_measurement_that_is_removed_is_made_again": ["remove it, and the run is"],
        "test_pictures_of_a_contest_are_those_of_its_runs": ["or --out another folder"],
        "test_what_explain_suggests_are_options_of_the_run": [
            "--head off-diagonal:", "--activation cubic:", "--eta-head: the head's peak", "this very start then",
        ],
    },
    "commands/test_main.py": {
        "test_help_has_an_example_that_the_parser_takes": [
            "usage: dynlab COMMAND", "--help shows its options", "example: dynlab run", "--batch 256,1024",
            "--method sgd --batch",
        ],
    },
    "commands/test_diagnose.py": {
        "test_what_is_to_be_changed_first_is_an_option_of_pretrain": [
            "--stop-gradient target", "--head off-diagonal --head-start identity", "--head-lr 1 --head-decay 0",
            "--lr 0.0003", "--projector-norm batch", "give head.parameters() to the optimiser",
        ],
        "test_explain_of_a_monitor_names_a_command_that_there_is": ["dynlab diagnose z.npy --head E.npy says"],
    },
    "command_line/test_cluster.py": {
        "test_a_scheduler_that_is_gone_is_a_line": ["--dask {}: {}; {}", "the same command begins anew"],
        "test_checkpoints_are_left_out_with_a_cluster": ["left out with --dask: what a worker"],
    },
    "command_line/test_configuration.py": {
        "test_a_bad_file_is_one_line": ["--config {", "--set {"],
    },
    "explanation/test_layered.py": {
        "test_what_cannot_be_explained_is_refused_in_a_line": ["left out for a run with hidden units"],
    },
    "explanation/test_pictures.py": {"test_known_causes_and_the_command_that_changes_them": ["Try instead:"]},
    "faults/test_bad_input.py": {"test_what_is_suggested_can_be_done": ["; did you mean {}?"]},
    "faults/test_stopped.py": {
        "test_whatever_stops_it_nothing_is_lost_and_it_can_be_done_again": [
            "what is finished is kept, the same command goes on",
        ],
    },
    "images/worth/test_evaluation.py": {
        "test_a_process_forked_after_threads_were_used_is_told_to_be_spawned": ["start processes by the method spawn"],
    },
    "images/comparison/test_methods.py": {
        "test_a_cluster_computes_where_one_process_is_asked_for": ["1 with --dask, whose workers compute"],
    },
    "sweeps/test_sweep_plan.py": {"test_pictures_are_of_pretraining": ["left out for a sweep of {}"]},
    "sweeps/test_swept.py": {
        "test_a_file_with_more_points_goes_on_and_one_that_lacks_some_is_refused": [", or given another folder"],
        "test_a_damaged_point_is_computed_again_and_a_damaged_plan_named": [
            "remove it, and points that are finished are kept", "where the results of a point belong; remove it",
        ],
    },
    "images/recipes/test_recipe_files.py": {
        "test_the_command_lists_them_and_shows_one": ["dynlab pretrain --recipe {} --data DIR"],
    },
    "sounds/test_speech_runs.py": {
        "test_evaluation_is_of_whole_recordings_and_their_trials": ["or a file of trials (--trials)"],
    },
    "sounds/test_pseudo_labels.py": {"test_rounds_by_the_command": ["left out without --rounds"]},
    "images/test_own_parts.py": {
        "test_names_and_what_goes_together": [
            "another: other functions are registered", "another: another function is registered", "another: {} are built in",
        ],
    },
    "commands/test_own_pictures.py": {
        "test_what_is_said_otherwise_does": ["left out with --dataset {}", "; DYNLAB_CACHE_DIR names another"],
    },
    "commands/test_export.py": {
        "test_what_is_said_otherwise_does": [
            "left out with RUN, which", "left out with --weights", "name of the network that --",
        ],
    },
    "commands/test_every_advice.py": {
        "test_a_run_that_was_given_up_ends_with_a_larger_tolerance_or_another_method": ["use a larger rtol or atol"],
        "test_a_level_is_given_with_refine": ["given with refine for this measure"],
        "test_a_map_of_other_settings_or_sources_goes_into_another_folder": [": give another folder"],
        "test_a_damaged_checkpoint_that_is_removed_leaves_the_one_that_is_named": ["remove it to go on", "to begin anew"],
        "test_a_checkpoint_of_other_settings_is_gone_on_with_by_those_or_left_in_its_folder": ["give those of that run"],
        "test_what_is_to_be_installed_is_an_extra_of_this_distribution": ["pip install 'dynlab-ssl["],
        "test_what_makes_a_setting_smaller_is_a_smaller_value": ["smaller: {} would take"],
        "test_pictures_that_were_fetched_badly_are_deleted_and_fetched_anew": ["(delete it to fetch it anew)"],
        "test_options_that_explain_names_for_pictures_are_of_pretrain": [
            "--head-decay 1e-3", "--head-lr 0.1", "Try a smaller rate first, as --lr",
        ],
        "test_what_explain_leaves_out_for_pictures": ["left out for {}"],
        "test_the_folder_of_a_warning_is_explained": ["(dynlab explain {})"],
        "test_the_device_is_the_cpu_with_a_cluster": ["cpu with --dask"],
        "test_a_longer_horizon_is_an_option_of_run": ["train for longer: --until"],
        "test_what_is_to_be_done_about_an_ending_helps": [
            "take a smaller learning rate", "train for longer (a later until)",
        ],
        "test_a_setting_that_a_run_was_made_with_is_the_one_it_goes_on_with": [
            "as in the run that is resumed", "the folder of the run that --resume goes on with",
        ],
    },
}  # fmt: skip
"""Texts, by a part of each, that a test of their own follows: file below tests, name."""

NO_ADVICE = (
    "--out {}", "another process is working", "another user", "another signature", "another run", "copies of one another",
    "in another way", "follow one another", "from one another: substitution", "given back, as in phase IV", "# dynlab ",
    "in Python, for tests", "explain reads the folders", "holds no run to go on with", "When: T_1 goes like",
    "since this process", "use several directions", "set an option by its name", "value of another coordinate",
    "use this many", "in units of --lr", "clipped (the smaller of the two)", "(default: as --schedule)",
    "of --weight-decay, of constant",    "of --target-momentum, of constant", "smaller views of a picture",
    # No input is known that leads there, so that what is advised cannot be tried.
    "The solver's step became too small",
    "norms and biases are left out",
    "joins a neuron to units of another",
    "steps, instead of epochs", "(its options: --method sgd --help)", "folder for results",
)  # fmt: skip
"""Texts that say what is, and pages of --help that are put together before they are handed over."""
