"""`qllm-jax sweep`: many settings × seeds, as few compiled programs as there are.

    space.py     what is swept: lists and distributions, and the settings they give
    search.py    the trainings: settings in groups of one program each, rung after rung
    outcome.py   what each setting reached, with intervals and a ranking
    shown.py     the table, the figure, the CSV and the record

Settings that are arrays in the compiled program (learning rate, discount, …) are an axis of it
beside the seeds; others (sizes, periods) are grouped, one compilation a group. Every setting sees
the same seeds. Called by `jobs.sweep`.
"""

from qllm_jax.sweep.outcome import SettingResult, SweepResult
from qllm_jax.sweep.search import Group, check_budgets, run_sweep
from qllm_jax.sweep.shown import sweep_csv, sweep_figure, sweep_record, sweep_table
from qllm_jax.sweep.space import Setting, draw_settings, with_setting

__all__ = [
    "Group",
    "Setting",
    "SettingResult",
    "SweepResult",
    "check_budgets",
    "draw_settings",
    "run_sweep",
    "sweep_csv",
    "sweep_figure",
    "sweep_record",
    "sweep_table",
    "with_setting",
]
