"""Write a task's recorded transcripts from authored answers, or re-key them.

    python -m qllm_jax.synthesis.rerecord TASK [--answers DIR]

A transcript answers one exact prompt, so a changed prompt, task text or layout leaves it
unreachable. Where the answers still answer the changed prompt, this plays the loop again with the
same answers and writes transcripts under their new addresses. Answers are found by *label*, such
as `r2c1@r1c3`: round 2, candidate 1, where the parent is r1c3.

    r1c2            first answer of candidate 2 in round 1
    r1c2.repair1    its first repair
    r2c1@r1c3       round 2, where r1c3 won round 1; without `@…` for every parent
    r1.review       the evaluator in round 1

Which candidate wins the first round depends on the machine's measurement, so the loop is played
once per possible winner, with a measurement that makes it win: a replay finds an answer whoever
wins. `--answers` reads `<label>.md` files; without it, the task's present transcripts are re-keyed.
"""

import argparse
import dataclasses
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from qllm_jax.config import Config, LlmConfig
from qllm_jax.errors import UserError
from qllm_jax.llm import Completion, Request, Usage
from qllm_jax.llm.prompts import prompt_dir
from qllm_jax.llm.transcripts import Transcript, read_transcript, write_transcript
from qllm_jax.synthesis.candidate import candidate_name
from qllm_jax.synthesis.loop import generate
from qllm_jax.synthesis.measurement import ArmFn, ArmMeasurement, MeasureFn, Seeds
from qllm_jax.tasks import get_configured_task

AUTHOR = "the QLLM-JAX developers' assistant model"
_SOURCE = f"written by {AUTHOR}, following prompts/coder_*.md and prompts/evaluator_*.md"
_MODEL = "qllm-jax-developers-assistant"
_TURN = re.compile(r"Round (\d+)(?:, candidate (\d+))?(?:, repair (\d+))?\.")
_PARENT = re.compile(r"It was candidate (r\d+c\d+)\.")


@dataclasses.dataclass(frozen=True)
class AuthoredClient:
    """Answers by label, and writes what it answered as transcripts.

    Attributes:
        answers: Completion by label.
        directory: Where transcripts go.
        winner: The candidate that wins the first round, the parent of the second.
    """

    answers: Mapping[str, Transcript]
    directory: Path
    winner: str

    @property
    def name(self) -> str:
        """Neither a provider nor a replay."""
        return "authored"

    def complete(self, request: Request) -> Completion:
        """The answer to the turn that the last message opens."""
        label, parent = turn_label(request), self._parent(request)
        exact = f"{label}@{parent}" if parent else label
        answer = self.answers.get(exact) or self.answers.get(label)
        if answer is None:
            raise UserError(f"no authored answer {exact!r}. Known: {', '.join(self.answers)}.")
        transcript = dataclasses.replace(answer, request=request, label=exact)
        write_transcript(self.directory, transcript)
        return transcript.completion

    def _parent(self, request: Request) -> str:
        found = _PARENT.search(request.messages[1].text)
        if found:
            return found.group(1)
        later = not turn_label(request).startswith("r1")
        return self.winner if request.purpose == "evaluator" and later else ""


def turn_label(request: Request) -> str:
    """The label of a request, without its parent, from the line that opens its last message."""
    match = _TURN.match(request.messages[-1].text)
    assert match is not None, "every turn opens with its round"
    round_number, candidate, repair = match.groups()
    if candidate is None:
        return f"r{round_number}.review"
    suffix = f".repair{repair}" if repair else ""
    return candidate_name(int(round_number), int(candidate) - 1) + suffix


def authored_answers(directory: Path) -> dict[str, Transcript]:
    """Answers from `<label>.md` files."""
    return {
        path.stem: Transcript(
            provider="authored",
            source=_SOURCE,
            request=Request("", _MODEL, (), 0.0, 0),
            completion=Completion(
                path.read_text("utf-8").strip() + "\n", Usage(0, 0, 0, 0), _MODEL, "stop", 0.0
            ),
        )
        for path in sorted(directory.glob("*.md"))
    }


def recorded_answers(directory: Path) -> dict[str, Transcript]:
    """Answers from present transcripts, by their labels."""
    transcripts = [read_transcript(path) for path in sorted(directory.glob("*-*.json"))]
    return {item.label: item for item in transcripts if item.label}


def rerecord(task: str, answers: Mapping[str, Transcript], directory: Path) -> int:
    """Play the loop once per possible winner and write every transcript; returns their number.

    Raises:
        UserError: An answer is missing.
    """
    spec = get_configured_task(task)
    config = Config(llm=LlmConfig(coder_model=_MODEL, evaluator_model=_MODEL))
    with tempfile.TemporaryDirectory() as scratch:
        written = Path(scratch) / "transcripts"
        for index in range(config.synthesis.num_candidates):
            winner = candidate_name(1, index)
            client = AuthoredClient(answers, written, winner)
            generate(spec, config, client, Path(scratch) / winner, evaluate=_won_by(winner))
        if directory.exists():
            for path in directory.glob("*-*.json"):
                path.unlink()
        shutil.copytree(written, directory, dirs_exist_ok=True)
        return len(list(written.iterdir()))


def _won_by(winner: str) -> MeasureFn:
    """A measurement that one candidate wins; where it is absent, all tie."""

    def measure(
        candidates: Mapping[str, ArmFn],
        mixers: Sequence[str],
        seeds: Seeds,
        num_rungs: int = 1,
    ) -> dict[str, ArmMeasurement]:
        return {
            name: ArmMeasurement((float(name == winner),) * 3, (0.0, 1.0), (0, 1))
            for name in (*mixers, *candidates)
        }

    return measure


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m qllm_jax.synthesis.rerecord")
    parser.add_argument("task")
    parser.add_argument("--answers", type=Path, help="Directory of <label>.md files.")
    args = parser.parse_args()
    directory = prompt_dir() / "recorded" / args.task
    try:
        answers = authored_answers(args.answers) if args.answers else recorded_answers(directory)
        count = rerecord(args.task, answers, directory)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{count} transcripts in {directory}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
