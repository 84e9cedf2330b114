"""Report sections about the credit-assignment function and how it was found."""

from collections.abc import Mapping, Sequence

from qllm_jax.results.candidate_curves import candidate_curves_figure, curve_text
from qllm_jax.results.lineage import lineage_figure
from qllm_jax.results.markup import (
    code_block,
    escape,
    facts_html,
    figure_html,
    paragraphs,
    table_html,
)
from qllm_jax.results.report_data import (
    CandidateRow,
    CheckRow,
    CostRow,
    ReportData,
    TfcafSummary,
)
from qllm_jax.results.synthesis_table import format_dollars, score_interval
from qllm_jax.results.table import Table, format_count, format_interval, format_seconds

_BAD = ("refused", "failed")


def tfcaf_section(tfcaf: TfcafSummary | None) -> str:
    """The function beside the response it came from, its checks, and why it was chosen."""
    if tfcaf is None:
        return ""
    written = f" ({tfcaf.dialect})" if tfcaf.dialect else ""
    reason = "<h3>Why it was chosen</h3>" + paragraphs(tfcaf.reason) if tfcaf.reason else ""
    return (
        "<p>The function that trained the agents: <code>q_tot = tfcaf(agent_qs, state)</code>, "
        "without learned parameters: what runs, beside what the language model wrote.</p>"
        '<div class="pair">'
        + code_block(tfcaf.source, "Translated: jnp, what runs")
        + code_block(tfcaf.original, f"Response, verbatim{written}")
        + "</div>"
        + facts_html({str(key): value for key, value in tfcaf.provenance.items()})
        + reason
        + _checks(tfcaf)
    )


def _checks(tfcaf: TfcafSummary) -> str:
    tone = (
        "bad"
        if tfcaf.igm.startswith("violated")
        else ("good" if tfcaf.igm.startswith(("proved", "tested")) else "muted")
    )
    statement = (
        f'<p>IGM (every credit ≥ 0): <strong class="{tone}">{escape(tfcaf.igm)}</strong>.</p>'
    )
    if not tfcaf.checks:
        return f"<h3>Verification</h3>{statement}"
    rows = "".join(
        f"<tr><td>{escape(check.name)}</td><td>{_verdict(check)}</td>"
        f'<td class="wide">{escape(check.detail)}</td></tr>'
        for check in tfcaf.checks
    )
    return (
        f"<h3>Verification</h3>{statement}"
        '<div class="scroll" tabindex="0"><table><thead><tr><th scope="col">check</th>'
        '<th scope="col">answer</th><th scope="col">measured</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _verdict(check: CheckRow) -> str:
    if check.passed:
        return '<span class="tag good">✓ holds</span>'
    if check.required:
        return '<span class="tag bad">✗ fails</span>'
    return '<span class="tag muted">✗ reported only</span>'


def design_section(data: ReportData) -> str:
    """The lineage of candidates as pictures and table, and what the calls cost."""
    parts = []
    if data.candidates:
        parts.append(
            figure_html(
                lambda width: lineage_figure(data.candidates, score=data.score, width=width),
                alt="Lineage of candidates with their measured scores",
                caption="Left: rounds, lines from parent to child. Right: measured score with its "
                "95 % interval. Crosses: refused before training. Diamonds: fixed arms.",
            )
        )
        parts.append(
            figure_html(
                lambda width: candidate_curves_figure(
                    data.candidates, score=data.score, width=width
                ),
                alt="Return and TD error of the measured candidates along training",
                caption="Each arm's newest measurement, a short training: mean over its seeds. "
                "Arms of one round share their seeds; the chosen one and the fixed arms were "
                "measured once more on fresh seeds.",
            )
        )
        parts.append(_agreement(data.agreement))
        parts.append(_candidate_table(data.candidates))
    if data.costs:
        parts.append("<h3>Cost of the language model, by role</h3>")
        parts.append(table_html(cost_table(data.costs)))
    return "".join(parts)


def design_headline(data: ReportData) -> str:
    """What a design run without training found, in one sentence."""
    chosen = next((row for row in data.candidates if row.verdict == "chosen"), None)
    if chosen is None:
        return f"No function was chosen for {data.task}."
    count = sum(row.verdict != "arm" for row in data.candidates)
    text = f"For {data.task}, {chosen.name} was chosen of {count} candidates"
    interval = score_interval(chosen)
    if interval is None:
        return f"{text}, without measurement."
    text += f"; measured {data.score} {format_interval(interval)} ({chosen.num_seeds} seeds"
    text += f", {chosen.env_steps[-1]:,} environment steps each)" if chosen.env_steps else ")"
    for row in data.candidates:
        arm = score_interval(row)
        if row.verdict == "arm" and arm is not None:
            text += f", {row.name} {format_interval(arm)}"
    return text + "."


def _agreement(agreement: Mapping[str, float]) -> str:
    if not agreement:
        return ""
    rounds = ", ".join(f"{tau:+.2f} in round {number}" for number, tau in agreement.items())
    return (
        "<p>Agreement of the evaluator's ranking with the measured one, Kendall's τ: "
        f"{escape(rounds.replace('-', '−'))} (+1: the same order, 0: unrelated, −1: "
        "reversed; the evaluator saw the measurements).</p>"
    )


def _candidate_table(rows: Sequence[CandidateRow]) -> str:
    body = []
    for row in rows:
        interval = score_interval(row)
        seeds = f" ({row.num_seeds} seeds)" if row.num_seeds and interval else ""
        score = "–" if interval is None else format_interval(interval) + seeds
        tone = "good" if row.verdict == "chosen" else "bad" if row.verdict in _BAD else ""
        rule = f'<br><span class="muted">{escape(row.rule)}</span>' if row.rule else ""
        body.append(
            f"<tr{' class=strong' if row.verdict == 'chosen' else ''}>"
            f'<td class="right">{row.round or "–"}</td><td>{escape(row.name)}</td>'
            f"<td>{escape(row.parent or '–')}</td>"
            f'<td><span class="tag {tone}">{escape(row.verdict)}</span>{rule}</td>'
            f'<td class="right">{escape(score)}</td><td class="wide">{_said(row)}</td></tr>'
        )
    heads = (
        '<th scope="col" class="right">round</th><th scope="col">candidate</th>'
        '<th scope="col">parent</th><th scope="col">verdict</th>'
        '<th scope="col" class="right">measured score</th>'
        '<th scope="col">difference, feedback and advice</th>'
    )
    return (
        f'<div class="scroll" tabindex="0"><table class="candidates"><thead><tr>{heads}</tr>'
        f"</thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _said(row: CandidateRow) -> str:
    """The difference at once; longer texts behind a click."""
    parts = [f"<div>{escape(row.difference)}</div>"] if row.difference else []
    if row.diff:
        label = f"Difference to {row.parent}"
        parts.append(_folded(label, f'<pre class="wide-text">{_diff_html(row.diff)}</pre>'))
    elif row.program:
        parts.append(_folded("Program", code_block(row.program, row.name)))
    if curve := curve_text(row):
        parts.append(_folded("Curve", f'<pre class="wide-text">{escape(curve)}</pre>'))
    for label, text in (("Feedback", row.feedback), ("Advice", row.advice)):
        if not text:
            continue
        if len(text) <= 160 and "\n" not in text:
            parts.append(f'<div><span class="muted">{label}:</span> {escape(text)}</div>')
        else:
            start = escape(" ".join(text.split())[:80])
            parts.append(
                f"<details><summary>{label}: {start}…</summary>"
                f'<pre class="wrap">{escape(text)}</pre></details>'
            )
    return "".join(parts) or "–"


def _folded(label: str, body: str) -> str:
    return f"<details><summary>{escape(label)}</summary>{body}</details>"


def _diff_html(diff: str) -> str:
    """A unified diff with added and removed lines in their own colours."""
    kinds = {"+": "good", "-": "bad", "@": "muted"}
    lines = []
    for line in diff.splitlines():
        kind = kinds.get(line[:1])
        lines.append(f'<span class="{kind}">{escape(line)}</span>' if kind else escape(line))
    return "\n".join(lines)


def cost_table(costs: Sequence[CostRow]) -> Table:
    """Calls, tokens and money by role, with a sum; money is unknown where one price is."""
    rows = [
        (
            cost.role,
            cost.model,
            format_count(cost.calls),
            format_count(cost.failed),
            format_count(cost.prompt_tokens),
            format_count(cost.output_tokens),
            format_dollars(cost.dollars),
            format_seconds(cost.seconds),
        )
        for cost in costs
    ]
    if len(costs) > 1:
        known = [cost.dollars for cost in costs]
        total = None if None in known else sum(value for value in known if value is not None)
        seconds = [cost.seconds for cost in costs if cost.seconds is not None]
        rows.append(
            (
                "all",
                "",
                format_count(sum(cost.calls for cost in costs)),
                format_count(sum(cost.failed for cost in costs)),
                format_count(sum(cost.prompt_tokens for cost in costs)),
                format_count(sum(cost.output_tokens for cost in costs)),
                format_dollars(total),
                format_seconds(sum(seconds) if seconds else None),
            )
        )
    notes = []
    if any(cost.recorded for cost in costs):
        notes.append(
            "The answers were replayed from recorded transcripts: tokens and money are those of "
            "the recording, nothing was spent now."
        )
    return Table(
        title="",
        columns=(
            "role",
            "model",
            "calls",
            "failed",
            "tokens sent",
            "tokens received",
            "money",
            "time",
        ),
        rows=tuple(rows),
        numeric=(False, False, True, True, True, True, True, True),
        notes=tuple(notes),
        strong=(len(costs),) if len(costs) > 1 else (),
    )
