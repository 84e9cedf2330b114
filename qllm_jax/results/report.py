"""The report: one self-contained HTML file, without scripts and without anything fetched."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

from qllm_jax.results.compare import (
    ComparisonRow,
    by_measure,
    comparison_rows,
    comparison_table,
    has_scores,
    reference_threshold,
)
from qllm_jax.results.figures import curve_bands, curves_figure
from qllm_jax.results.files import write_text
from qllm_jax.results.findings import headline
from qllm_jax.results.markup import escape, figure_html, section, table_html, unbroken
from qllm_jax.results.report_data import ReportData, RunSummary
from qllm_jax.results.report_design import design_headline, design_section, tfcaf_section
from qllm_jax.results.report_parts import (
    credit_section,
    how_to_read_section,
    provenance_section,
)

_TEMPLATES = Path(__file__).parent / "templates"
_CURVES_CAPTION = (
    "Line: interquartile mean over seeds of the greedy evaluation. Band: 95 % bootstrap interval, "
    "pointwise, whole curves resampled. Dotted: untrained policy and known levels."
)


def write_report(path: str | Path, data: ReportData) -> Path:
    """Write `data` as HTML to `path`, replacing what is there in one step.

    Raises:
        UserError: The place cannot be written.
    """
    path = Path(path)
    write_text(path, render_report(data))
    return path


def render_report(data: ReportData) -> str:
    """The HTML of `data`; sections without data are left out."""
    rows = comparison_rows(data.runs, outcome=data.outcome)
    anchors = [
        ("curves", "Learning curves", _curves_section(data)),
        ("results", "Final results", _results_section(data, rows)),
        ("tfcaf", "Credit function", tfcaf_section(data.tfcaf)),
        ("credit", "Credit in an episode", credit_section(data.episodes)),
        ("design", "Design", design_section(data)),
        ("made", "How this was made", provenance_section(data)),
        ("reading", "How to read this", how_to_read_section(data)),
    ]
    shown = [(anchor, title, body) for anchor, title, body in anchors if body]
    template = Template((_TEMPLATES / "report.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(f"{data.task} – QLLM-JAX report"),
        style=(_TEMPLATES / "report.css").read_text(encoding="utf-8"),
        heading=escape(data.task),
        byline=_byline(data, rows),
        finding=unbroken(_finding(data, rows)),
        warnings="".join(f'<p class="warning">{escape(note)}</p>' for note in _warnings(data)),
        contents=" ".join(f'<a href="#{anchor}">{escape(title)}</a>' for anchor, title, _ in shown),
        sections="\n".join(section(anchor, title, body) for anchor, title, body in shown),
    )


def _finding(data: ReportData, rows: Sequence[ComparisonRow]) -> str:
    if data.candidates and not data.runs:
        return design_headline(data)
    return headline(rows, data.task, data.score, data.outcome)


def _byline(data: ReportData, rows: Sequence[ComparisonRow]) -> str:
    parts = ["QLLM-JAX report"]
    names = [row.name for row in rows]
    if names:
        parts.append(", ".join(names))
    counts = {row.num_seeds + row.num_diverged for row in rows}
    if len(counts) == 1:
        (count,) = counts
        each = " each" if len(rows) > 1 else ""
        parts.append(f"{count} seed{'s' if count != 1 else ''}{each}")
    parts += [part for part in (data.device, data.created) if part]
    return " · ".join(escape(part) for part in parts)


def _warnings(data: ReportData) -> list[str]:
    """What a reader has to know first: interrupted runs, runs without results, and notes."""
    warnings = [str(note) for note in data.notes]
    for run in data.runs:
        status = run.info.get("status", "complete")
        if not has_scores(run):
            warnings.append(f"{run.name} has no evaluation yet and is left out.")
        elif status != "complete":
            steps = int(run.metrics["env_steps"][-1])
            planned = run.info.get("num_env_steps")
            of = f" of {planned:,}" if isinstance(planned, int) else ""
            verb = "is still running" if status == "running" else f"was {status}"
            warnings.append(
                f"{run.name} {verb}: what is shown ends at {steps:,}{of} environment steps."
            )
    return warnings


def _curves_section(data: ReportData) -> str:
    body = _curves_html(data, data.runs, data.score, data.landmarks, caption=_CURVES_CAPTION)
    if data.outcome is not None:
        runs = [by_measure(run, data.outcome) for run in data.runs]
        body += _curves_html(data, runs, data.outcome.name, data.outcome.landmarks)
    return body


def _curves_html(
    data: ReportData,
    runs: Sequence[RunSummary],
    score: str,
    landmarks: Mapping[str, float],
    caption: str = "",
) -> str:
    bands = curve_bands(runs)
    return figure_html(
        lambda width: curves_figure(
            runs,
            bands=bands,
            score=score,
            landmarks=landmarks,
            width=width,
            height=4.2 if width > 6 else 3.3,
        ),
        alt=f"Curves of the {score} of {', '.join(run.name for run in runs)} on {data.task}",
        caption=caption,
    )


def _results_section(data: ReportData, rows: Sequence[ComparisonRow]) -> str:
    if not rows:
        return ""
    table = comparison_table(
        rows,
        score=data.score,
        landmarks=data.landmarks,
        outcome=data.outcome,
        threshold=reference_threshold(data.runs),
    )
    return table_html(table, "results")
