"""Run one of JaxMARL's own Q-learning scripts from a checkout, and say what it did, as JSON.

Nothing is fetched or copied: the script is imported from the checkout, with its own default
configuration for MPE; only the budget, the number of seeds and what is timed are set here. It needs
what that script imports (flashbax, wandb, safetensors, hydra-core, gymnax), so `throughput.py` and
`parity_jaxmarl.py` start it with an interpreter of the reader's choice.

    python jaxmarl_driver.py CHECKOUT qmix_rnn --seeds 4 --iterations 400 [--params OUT.npz]
"""

import argparse
import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any


def load(
    checkout: Path, algorithm: str, iterations: int, evaluation: bool
) -> tuple[Any, dict[str, Any]]:
    """Import the script and compose its published configuration for MPE.

    Without `evaluation` there is none during training, so that what is timed is training; with it
    the script is as published, and what is compiled has the parts that ours always has.
    """
    import yaml

    sys.path.insert(0, str(checkout))
    folder = checkout / "baselines" / "QLearning"
    config = yaml.safe_load((folder / "config" / "alg" / "ql_rnn_mpe.yaml").read_text())
    config.update(
        TOTAL_TIMESTEPS=iterations * config["NUM_STEPS"] * config["NUM_ENVS"],
        TEST_DURING_TRAINING=evaluation,
        WANDB_MODE="disabled",
    )
    return importlib.import_module(f"baselines.QLearning.{algorithm}"), config


def train(module: Any, config: dict[str, Any], seeds: int, repeats: int) -> tuple[Any, dict]:
    """Compile, run `repeats` times, and keep the last output; 0 only compiles."""
    import jax

    env, _ = module.env_from_config(dict(config))
    keys = jax.random.split(jax.random.PRNGKey(0), seeds)
    begin = time.perf_counter()
    lowered = jax.jit(jax.vmap(module.make_train(config, env))).lower(keys)
    traced = time.perf_counter()
    compiled = lowered.compile()
    ready = time.perf_counter()
    output, seconds, cpu_before = None, [], time.process_time()
    for _ in range(repeats):
        start = time.perf_counter()
        output = jax.block_until_ready(compiled(keys))
        seconds.append(time.perf_counter() - start)
    timing = {"trace_s": traced - begin, "compile_s": ready - traced, "run_s": seconds}
    timing["cpu_s"] = (time.process_time() - cpu_before) / max(repeats, 1)
    return output, timing


def agent_params(output: Any) -> dict[str, Any]:
    """The agents' network of every seed, flat, `[S, ...]` per name."""
    import jax
    import numpy as np

    params = output["runner_state"][0].params
    agent = params.get("agent", params)
    flat = jax.tree_util.tree_leaves_with_path(agent)
    return {
        "/".join(str(getattr(key, "key", key)) for key in path): np.asarray(leaf)
        for path, leaf in flat
    }


def probe(module: Any, output: Any, num_actions: int, obs_size: int) -> dict[str, Any]:
    """The script's own network on random inputs, so that a reader of its parameters can check."""
    import jax
    import numpy as np

    params = output["runner_state"][0].params
    agent = jax.tree.map(lambda leaf: leaf[0], params.get("agent", params))
    width = next(leaf.shape[0] for leaf in jax.tree.leaves(agent) if leaf.ndim == 1)
    network = module.RNNQNetwork(action_dim=num_actions, hidden_dim=width)
    obs = np.random.default_rng(0).normal(size=(6, 4, obs_size)).astype(np.float32)
    hidden = module.ScannedRNN.initialize_carry(width, 4)
    _, q_values = network.apply(agent, hidden, obs, np.zeros((6, 4), bool))
    return {"probe_obs": obs, "probe_q_values": np.asarray(q_values)}


def main() -> None:
    """Read arguments, train, print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", type=Path)
    parser.add_argument("algorithm", choices=["qmix_rnn", "vdn_rnn", "iql_rnn"])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--iterations", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--params", type=Path)
    parser.add_argument("--evaluation", action="store_true", help="as published, in training too")
    parser.add_argument("--compile-only", action="store_true")
    args = parser.parse_args()
    module, config = load(args.checkout.resolve(), args.algorithm, args.iterations, args.evaluation)
    repeats = 0 if args.compile_only else args.repeats
    output, timing = train(module, config, args.seeds, repeats)
    if args.params is not None:
        import numpy as np
        from jaxmarl.wrappers.baselines import CTRolloutManager

        env, _ = module.env_from_config(dict(config))
        wrapped = CTRolloutManager(env, batch_size=1)
        checks = probe(module, output, int(wrapped.max_action_space), int(wrapped.obs_size))
        np.savez(args.params, **agent_params(output), **checks)
    windows = args.iterations * config["NUM_ENVS"]
    print(json.dumps({**timing, "windows_per_seed": windows, "steps_per_window": 26}))


if __name__ == "__main__":
    main()
