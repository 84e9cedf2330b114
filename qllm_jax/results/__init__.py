"""Run directories, statistics over seeds, the terminal's display and the report.

`RunStore` writes a run directory while the run goes on, `RunResult` reads it, `comparison_rows`
turns several into numbers with intervals, and `comparison_table`, `Console` and `write_report`
show the same numbers in Markdown, in a terminal and in a self-contained HTML file.
"""

from qllm_jax.results.archive import load_report_data, save_report_data
from qllm_jax.results.compare import (
    ComparisonRow,
    comparison_rows,
    comparison_table,
    reference_threshold,
    to_markdown,
)
from qllm_jax.results.console import Console
from qllm_jax.results.credit_figure import credit_figure
from qllm_jax.results.figures import curves_figure, overview_figure
from qllm_jax.results.files import write_text
from qllm_jax.results.findings import headline
from qllm_jax.results.loggers import Loggers, open_loggers
from qllm_jax.results.marl_eval import marl_eval_data
from qllm_jax.results.report import write_report
from qllm_jax.results.report_data import (
    CandidateRow,
    CheckRow,
    CostRow,
    EpisodeFigure,
    Measure,
    ReportData,
    RunSummary,
    TfcafSummary,
)
from qllm_jax.results.statistics import (
    Interval,
    bootstrap_interval,
    curve_interval,
    difference_interval,
    final_scores,
    iqm,
    probability_of_improvement,
    steps_to_threshold,
)
from qllm_jax.results.store import (
    CHECKPOINT_DIR,
    REPLACED,
    RunResult,
    RunStore,
    find_runs,
    is_measured,
    is_run,
    load_config,
    run_parent,
)
from qllm_jax.results.style import save_figure_png
from qllm_jax.results.synthesis_table import synthesis_table
from qllm_jax.results.table import Table, format_rate, format_seconds

__all__ = [
    "CHECKPOINT_DIR",
    "REPLACED",
    "load_report_data",
    "save_report_data",
    "save_figure_png",
    "write_report",
    "write_text",
    "overview_figure",
    "curves_figure",
    "credit_figure",
    "CandidateRow",
    "CheckRow",
    "ComparisonRow",
    "Console",
    "CostRow",
    "EpisodeFigure",
    "Interval",
    "Loggers",
    "Measure",
    "ReportData",
    "RunResult",
    "RunStore",
    "RunSummary",
    "Table",
    "TfcafSummary",
    "bootstrap_interval",
    "comparison_rows",
    "comparison_table",
    "curve_interval",
    "difference_interval",
    "final_scores",
    "find_runs",
    "format_rate",
    "format_seconds",
    "headline",
    "iqm",
    "is_measured",
    "is_run",
    "load_config",
    "marl_eval_data",
    "open_loggers",
    "probability_of_improvement",
    "reference_threshold",
    "run_parent",
    "steps_to_threshold",
    "synthesis_table",
    "to_markdown",
]
