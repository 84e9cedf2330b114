"""`qllm-jax COMMAND …`: parses arguments, sets JAX's process up, calls the pipeline.

Exit codes: 0 it holds or it is done, 1 refused or failed (the reason on stderr), 2 misuse,
130 interrupted. JAX is imported by the commands only, after `configure_runtime`.
"""

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path

from qllm_jax.errors import UserError
from qllm_jax.runtime import configure_runtime

_CAPS = tuple(f"synthesis.max_{name}" for name in ("tokens", "dollars", "calls", "seconds"))
_MOST_BYTES = 1 << 20  # read of a file that should hold a function; the translator takes fewer
_OVERRIDES_HELP = "such as task=matrix/climbing mixer=vdn learner.lr=1e-3 runner.num_seeds=16"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; a person's mistake never shows a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # where there is no such letter, its number
            stream.reconfigure(errors="backslashreplace")
    args = _parser().parse_args(argv)
    configure_runtime()
    try:
        return args.command(args)
    except UserError as error:
        print(f"qllm-jax: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("qllm-jax: interrupted; what was measured so far is kept.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="qllm-jax",
        description="LLM-written credit assignment for cooperative multi-agent RL, compiled.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def job(name: str, command, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help=_OVERRIDES_HELP)
        sub.set_defaults(command=command)
        return sub

    job("run", _run, "The main job: write a TFCAF, train it beside the other mixers, report.")
    job("generate", _generate, "Write, verify and evaluate a TFCAF for a task.")
    job("train", _train, "Train one mixer over many seeds.")
    job("compare", _compare, "Train several mixers at equal configuration and report.")
    job("sweep", _sweep, "Train many settings: sweep.lr=[1e-4,1e-3] sweep.tau=uniform(0.1,1).")
    job("bench", _bench, "Time a training for growing numbers of seeds, and its parts.")

    resume = commands.add_parser(
        "resume", help="Continue a training or job that was stopped or killed."
    )
    resume.add_argument("run", type=Path, metavar="RUN_DIR")
    resume.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="which host of several this is (hosts.*), or larger caps of a design, such as "
        "synthesis.max_calls=500",
    )
    resume.set_defaults(command=_resume)

    tasks = commands.add_parser("tasks", help="List the tasks, show or check one.")
    tasks.add_argument("action", nargs="?", choices=["list", "show", "check"], default="list")
    tasks.add_argument(
        "name", nargs="?", help="Task id, or package.module:Class or file.py:Class of your own."
    )
    tasks.set_defaults(command=_tasks)

    translate = commands.add_parser("translate", help="Translate a TFCAF to jnp; never runs it.")
    translate.add_argument("file", help="Chat response or bare source; - is standard input.")
    translate.add_argument("--agents", type=_positive_int, required=True, metavar="N")
    translate.add_argument("--state", type=_positive_int, required=True, metavar="D")
    translate.add_argument("-o", "--output", type=Path, help="Write the jnp source here.")
    translate.add_argument(
        "--repair",
        choices=["clip", "softplus"],
        help="Wrap it so that no weight is negative (functions affine in the values).",
    )
    translate.set_defaults(command=_translate)

    verify = commands.add_parser("verify", help="Translate and verify a TFCAF.")
    verify.add_argument("file", help="Chat response or bare source; - is standard input.")
    verify.add_argument("--task", help="Task whose states and layout to verify on.")
    verify.add_argument("--agents", type=_positive_int, metavar="N")
    verify.add_argument("--state", type=_positive_int, metavar="D")
    verify.add_argument("--igm", choices=["enforce", "report", "off"], default="report")
    verify.add_argument(
        "--repair",
        choices=["clip", "softplus"],
        help="Verify it wrapped so that no weight is negative (functions affine in the values).",
    )
    verify.set_defaults(command=_verify)

    report = commands.add_parser("report", help="Write the report of finished runs again.")
    report.add_argument("runs", nargs="+", type=Path, metavar="RUN_DIR")
    written = report.add_mutually_exclusive_group()
    written.add_argument("-o", "--output", type=Path, default=Path("report.html"))
    written.add_argument(
        "--marl-eval", type=Path, metavar="FILE", help="Write marl-eval's JSON here instead."
    )
    report.set_defaults(command=_report)
    return parser


def _positive_int(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


def _run(args: argparse.Namespace) -> int:
    from qllm_jax import pipeline
    from qllm_jax.compose import compose_learners

    first, *others = compose_learners(args.overrides)
    return pipeline.run(first, others).exit_code


def _generate(args: argparse.Namespace) -> int:
    from qllm_jax import pipeline
    from qllm_jax.compose import compose_config

    return pipeline.generate(compose_config(args.overrides)).exit_code


def _train(args: argparse.Namespace) -> int:
    from qllm_jax import pipeline
    from qllm_jax.compose import compose_config

    return pipeline.train_job(compose_config(args.overrides)).exit_code


def _compare(args: argparse.Namespace) -> int:
    from qllm_jax import pipeline
    from qllm_jax.compose import compose_learners

    first, *others = compose_learners(args.overrides)
    return pipeline.compare(first, others).exit_code


def _resume(args: argparse.Namespace) -> int:
    from qllm_jax import pipeline
    from qllm_jax.compose import compose_config

    keys = [item.partition("=")[0] for item in args.overrides]
    caps = [key.removeprefix("synthesis.") for key in keys if key in _CAPS]
    others = [key for key in keys if key not in _CAPS and not key.startswith("hosts.")]
    if others:
        raise UserError(
            f"{', '.join(others)} cannot be changed on the way; a resumed run keeps its settings. "
            f"Only hosts.* and the caps of a design may be given: {', '.join(_CAPS)}."
        )
    given = compose_config(args.overrides)
    values = {name: getattr(given.synthesis, name) for name in caps}
    return pipeline.resume(args.run, given.hosts, values).exit_code


def _sweep(args: argparse.Namespace) -> int:
    from qllm_jax import pipeline
    from qllm_jax.compose import compose_config

    return pipeline.sweep(compose_config(args.overrides)).exit_code


def _bench(args: argparse.Namespace) -> int:
    from qllm_jax import pipeline
    from qllm_jax.compose import compose_config

    return pipeline.bench(compose_config(args.overrides)).exit_code


def _report(args: argparse.Namespace) -> int:
    from qllm_jax import pipeline

    if args.marl_eval is not None:
        print(pipeline.export_marl_eval(args.runs, args.marl_eval))
    else:
        print(pipeline.report(args.runs, args.output))
    return 0


def _tasks(args: argparse.Namespace) -> int:
    from qllm_jax.tasks import (
        check_task,
        format_task_report,
        get_configured_task,
        task_prompt,
        tasks_table,
    )

    if args.action != "list" and args.name is None:
        raise UserError(f"name the task: qllm-jax tasks {args.action} mpe/simple_spread.")
    if args.action == "list" and args.name is not None:
        raise UserError(f"`tasks list` lists them all; for one, qllm-jax tasks show {args.name}.")
    if args.action == "show":
        print(task_prompt(get_configured_task(args.name)))
        return 0
    if args.action == "check":
        outcome = check_task(args.name)
        print(format_task_report(outcome))
        return 0 if outcome.passed else 1
    from qllm_jax.paths import data_dir

    shipped = data_dir("configs") / "artifacts"
    header, *body = tasks_table()
    rows = [(*header, "TFCAF")]
    rows += [(*row, "shipped" if (shipped / row[0]).is_dir() else "") for row in body]
    widths = [max(len(str(row[i])) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)))
    return 0


def _translate(args: argparse.Namespace) -> int:
    from qllm_jax.tfcaf import TranslationError, translate

    try:
        translation = translate(_read(args.file), num_agents=args.agents, state_dim=args.state)
    except TranslationError as error:
        print(f"refused {error}", file=sys.stderr)
        return 1
    if args.repair is not None:
        from qllm_jax.verify import repair_igm

        translation = repair_igm(translation, args.repair)
    for note in translation.notes:
        print(f"note: {note}", file=sys.stderr)
    if args.output is None:
        sys.stdout.write(translation.source)
    else:
        _write(args.output, translation.source)
    return 0


def _verify(args: argparse.Namespace) -> int:
    from qllm_jax.tfcaf import TranslationError, translate
    from qllm_jax.verify import format_report, repair_igm, verify

    if args.task is not None:
        from qllm_jax.tasks import get_task

        env = get_task(args.task).env
        for given, is_now, flag in (
            (args.agents, env.num_agents, "--agents"),
            (args.state, env.state_dim, "--state"),
        ):
            if given is not None and given != is_now:
                raise UserError(f"{flag} is {given}, but {args.task} has {is_now}; leave it out.")
        num_agents, state_dim = env.num_agents, env.state_dim
    elif args.agents is None or args.state is None:
        raise UserError("say what it is for: --task NAME, or both --agents N and --state D.")
    else:
        num_agents, state_dim = args.agents, args.state
    try:
        translation = translate(_read(args.file), num_agents=num_agents, state_dim=state_dim)
    except TranslationError as error:
        print(f"refused {error}", file=sys.stderr)
        return 1
    if args.repair is not None:
        translation = repair_igm(translation, args.repair)
    outcome = verify(translation, igm=args.igm, task=args.task)
    print(format_report(outcome))
    if not outcome.passed:
        print(f"failed:\n{outcome.feedback()}", file=sys.stderr)
    return 0 if outcome.passed else 1


def _read(name: str) -> str:
    """The text of a file, or of standard input; of one too long to be a response, its beginning."""
    try:
        if name != "-":
            with Path(name).open("rb") as file:
                data = file.read(_MOST_BYTES)
        elif sys.stdin is None:
            raise OSError("it is closed")
        else:
            data = sys.stdin.buffer.read(_MOST_BYTES)
        return data.decode("utf-8-sig", "strict" if len(data) < _MOST_BYTES else "replace")
    except (OSError, ValueError) as error:
        name = "standard input" if name == "-" else name
        fix = " Save it as UTF-8." if isinstance(error, UnicodeDecodeError) else ""
        raise UserError(f"{name} could not be read: {error}.{fix}") from None


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} could not be written: {error}.") from None


if __name__ == "__main__":
    sys.exit(main())
