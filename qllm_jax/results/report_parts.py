"""Report sections on credit along an episode, on how the report was made and on how to read it.

Called by `report`.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import yaml

from qllm_jax.results.credit_figure import credit_figure
from qllm_jax.results.files import plain
from qllm_jax.results.markup import code_block, escape, facts_html, figure_html
from qllm_jax.results.report_data import EpisodeFigure, ReportData
from qllm_jax.results.table import format_number


def credit_section(episodes: Sequence[EpisodeFigure]) -> str:
    """Each episode's credits under its frames, with what the numbers say in a sentence."""
    parts = []
    for episode in episodes:
        credits = np.asarray(episode.credits)
        if credits.ndim != 2 or credits.size == 0:
            continue
        if episode.title:
            parts.append(f"<h3>{escape(episode.title)}</h3>")
        parts.append(
            figure_html(
                partial(_draw, episode),
                alt="Credit of each agent at each step of a greedy episode",
                caption=describe_credit(episode),
            )
        )
    return "".join(parts)


def _draw(episode: EpisodeFigure, width: float):
    return credit_figure(episode, width=width)


def describe_credit(episode: EpisodeFigure) -> str:
    """What the credits of an episode say: their spread, their sign, the return."""
    credits = np.asarray(episode.credits, dtype=float)
    num_steps, num_agents = credits.shape
    text = f"A greedy episode of {num_steps} step{'s' if num_steps != 1 else ''}. "
    wrong = float((~np.isfinite(credits)).mean())
    if wrong:
        return text + f"{100 * wrong:.0f} % of the credits are not finite numbers."
    spread = np.ptp(credits, axis=1)
    scale = max(float(np.abs(credits).max()), 1e-12)
    uniform = float((spread <= 1e-6 * scale).mean())
    if uniform == 1.0 and np.ptp(credits) <= 1e-6 * scale:
        text += f"Every agent gets the same credit at every step: {credits[0, 0]:.3g}. "
    elif uniform == 1.0:
        text += "All agents get the same credit at each step; it changes over time. "
    else:
        most = np.bincount(credits.argmax(axis=1), minlength=num_agents)
        who = int(most.argmax())
        text += (
            f"{episode.agent_names[who]} has the largest credit in {most[who]} of {num_steps} "
            f"steps; at one step the agents' credits differ by up to {spread.max():.2g}"
        )
        text += f", and are equal in {100 * uniform:.0f} % of steps. " if uniform else ". "
    negative = float((credits < 0).mean())
    if negative:
        text += f"{100 * negative:.0f} % of the credits are negative (IGM does not hold there). "
    if episode.rewards is not None:
        total = float(np.sum(episode.rewards))
        text += f"Return of this episode: {format_number(total, 2)}."
    return text.strip()


def provenance_section(data: ReportData) -> str:
    """The command, the machine, the versions and the whole configuration."""
    parts = []
    if data.command:
        parts.append(f'<pre class="command">{escape(data.command)}</pre>')
    versions = ", ".join(f"{name} {version}" for name, version in data.versions.items())
    seeds = {str(list(run.info["seeds"])) for run in data.runs if run.info.get("seeds")}
    parts.append(
        facts_html(
            {
                "device": data.device,
                "matrix products": data.precision,
                "versions": versions,
                "seed ids": _short(seeds.pop()) if len(seeds) == 1 else "",
                "run directories": ", ".join(
                    str(run.info["path"]) for run in data.runs if run.info.get("path")
                ),
                "created": data.created,
            }
        )
    )
    if data.config:
        text = yaml.safe_dump(plain(data.config), sort_keys=False, allow_unicode=True)
        parts.append(
            "<details><summary>The configuration</summary>"
            + code_block(text, "config.yaml")
            + "</details>"
        )
    return "".join(parts)


def _short(text: str) -> str:
    return text if len(text) <= 120 else text[:60] + " … " + text[-30:]


def how_to_read_section(data: ReportData) -> str:
    """Definitions, each in a sentence or two."""
    if not data.runs and data.tfcaf is None:
        return ""
    terms = {
        "IQM": "Interquartile mean: the lowest and the highest quarter of the seeds are dropped "
        "and the rest averaged; less moved by one odd seed than the mean, less noisy than the "
        "median (Agarwal et al. 2021, arXiv:2108.13264).",
        "95 % interval": "Percentile bootstrap over seeds, 2,000 resamples (above 500 seeds fewer, "
        "at least 400). It says how far the aggregate would move with other seeds, on "
        "this task and this configuration only.",
        "Difference": "IQM minus the first mixer's, both sides resampled. Where its interval holds "
        "0, this experiment does not tell the two apart.",
        "P(better)": "Probability that a random seed of this mixer ends above a random seed of the "
        "first, ties counting half; 0.5 is no difference.",
        "Untrained": "The greedy policy before the first gradient step, evaluated in the same way.",
        "Compile, run": "Seconds of tracing and compiling, and of everything after; "
        "env-steps per second count all seeds together, compilation apart.",
        "Credit": "∂q_tot/∂qᵢ, from automatic differentiation: by how much the team's value moves "
        "when agent i's own value does. For a function affine in the agents' values it is the "
        "weight of agent i in that state.",
        "IGM": "Individual-global-max: each agent's own greedy action is part of the team's greedy "
        "joint action. It holds where every credit is ≥ 0. “Proved” means that the program shows "
        "it; “tested on n states” means that no violation was found there.",
    }
    body = "".join(
        f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in terms.items()
    )
    return f"<dl>{body}</dl>"
