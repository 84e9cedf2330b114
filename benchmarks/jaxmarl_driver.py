"""Run one of JaxMARL's own scripts from a checkout, and say what it did, as JSON.

Nothing is fetched or copied: the script is imported from the checkout, with its own default
configuration; only the budget, the number of seeds, what is timed and what `--set` names are set
here. It needs what that script imports (flashbax, distrax, wandb, safetensors, hydra-core, gymnax),
so `throughput.py` and `parity_jaxmarl.py` start it with an interpreter of the reader's choice.

    python jaxmarl_driver.py CHECKOUT qmix_rnn --seeds 4 --iterations 400 [--params OUT.npz]
"""

import argparse
import copy
import importlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CONFIGS = {  # relative to `baselines`, by script and kind of environment
    **{
        (f"{name}_rnn", kind): f"QLearning/config/alg/ql_rnn_{kind}.yaml"
        for name in ("iql", "vdn", "qmix")
        for kind in ("mpe", "smax")
    },
    ("pqn_vdn_rnn", "mpe"): "QLearning/config/alg/pqn_vdn_rnn_mpe.yaml",
    ("pqn_vdn_rnn", "smax"): "QLearning/config/alg/pqn_vdn_rnn_smax.yaml",
    ("mappo_rnn_mpe", "mpe"): "MAPPO/config/mappo_homogenous_rnn_mpe.yaml",
    ("mappo_rnn_smax", "smax"): "MAPPO/config/mappo_homogenous_rnn_smax.yaml",
}


def load(
    checkout: Path, algorithm: str, kind: str, settings: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """Import the script, and its published configuration for a kind of environment, changed."""
    from omegaconf import OmegaConf  # as the scripts read it: `2e-3` is a number

    sys.path.insert(0, str(checkout))
    source = CONFIGS[algorithm, kind]
    config: Any = OmegaConf.to_container(OmegaConf.load(checkout / "baselines" / source))
    config.update(WANDB_MODE="disabled", **settings)
    return importlib.import_module(f"baselines.{source.split('/')[0]}.{algorithm}"), config


def make_train(module: Any, config: dict[str, Any]) -> Callable[..., Any]:
    """The script's training function of a key, whichever way it wants to be asked."""
    config = copy.deepcopy(config)  # the scripts write into it
    if hasattr(module, "ActorRNN"):
        import wandb

        wandb.init(mode="disabled")  # this one logs without asking
        return module.make_train(config)
    env, _ = module.env_from_config(copy.deepcopy(config))
    return module.make_train(config, env)


def train(module: Any, config: dict[str, Any], seeds: int, repeats: int) -> tuple[Any, dict]:
    """Compile, run `repeats` times, and keep the last output; 0 only compiles."""
    import jax

    keys = jax.random.split(jax.random.PRNGKey(0), seeds)
    begin = time.perf_counter()
    lowered = jax.jit(jax.vmap(make_train(module, config))).lower(keys)
    traced = time.perf_counter()
    compiled = lowered.compile()
    ready = time.perf_counter()
    output, seconds, cpu_before = None, [], time.process_time()
    for _ in range(repeats):
        output = None  # its memory is free for the next
        start = time.perf_counter()
        output = jax.block_until_ready(compiled(keys))
        seconds.append(time.perf_counter() - start)
    timing = {"trace_s": traced - begin, "compile_s": ready - traced, "run_s": seconds}
    timing["cpu_s"] = (time.process_time() - cpu_before) / max(repeats, 1)
    return output, timing


def acting_variables(output: Any) -> dict[str, Any]:
    """What the acting network's `apply` needs, of every seed."""
    first = output["runner_state"][0]
    if isinstance(first, tuple):  # PPO's: the runner state and a count; the actor comes first
        actor, _ = first[0]
        return actor.params
    params = first.params.get("agent", first.params)
    if "params" in params:
        return params
    return {"params": params, "batch_stats": getattr(first, "batch_stats", {})}


def flat_params(variables: dict[str, Any]) -> dict[str, Any]:
    """The acting network's parameters by name, `[S, ...]` each."""
    import jax
    import numpy as np

    return {
        "/".join(key.key for key in path): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(variables["params"])
    }


def probe(module: Any, config: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
    """The script's own network on random inputs, so that a reader of its parameters can check.

    Every action is available in it.
    """
    import jax
    import numpy as np

    first = jax.tree.map(lambda leaf: leaf[0], variables)
    num_features = first["params"]["Dense_0"]["kernel"].shape[0]
    dense = sorted(name for name in first["params"] if name.startswith("Dense"))
    num_actions = first["params"][dense[-1]]["kernel"].shape[1]
    obs = np.random.default_rng(0).normal(size=(6, 4, num_features)).astype(np.float32)
    done = np.zeros((6, 4), bool)
    if hasattr(module, "ActorRNN"):
        hidden = module.ScannedRNN.initialize_carry(4, config["GRU_HIDDEN_DIM"])
        network = module.ActorRNN(action_dim=num_actions, config=config)
        inputs = (obs, done)
        if "MAP_NAME" in config:
            inputs = (obs, done, np.ones((6, 4, num_actions)))
        outputs = network.apply(first, hidden, inputs)[1].logits
    else:
        hidden = module.ScannedRNN.initialize_carry(config["HIDDEN_SIZE"], 4)
        if hasattr(module, "QNetwork"):
            network = module.QNetwork(
                action_dim=num_actions,
                hidden_size=config["HIDDEN_SIZE"],
                num_layers=config["NUM_LAYERS"],
                norm_type=config["NORM_TYPE"],
            )
        else:
            network = module.RNNQNetwork(action_dim=num_actions, hidden_dim=config["HIDDEN_SIZE"])
        outputs = network.apply(first, hidden, obs, done)[1]
    return {"probe_obs": obs, "probe_outputs": np.asarray(outputs)}


def main() -> None:
    """Read arguments, train, print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", type=Path)
    parser.add_argument("algorithm", choices=sorted({name for name, _ in CONFIGS}))
    parser.add_argument("--kind", choices=["mpe", "smax"], default="mpe")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--iterations", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--params", type=Path)
    parser.add_argument("--set", default="{}", help="JSON of settings that are not as published")
    parser.add_argument("--evaluation", action="store_true", help="as published, in training too")
    parser.add_argument("--compile-only", action="store_true")
    args = parser.parse_args()
    # Without evaluation there is none during training, so that what is timed is training; with it
    # the script is as published, and what is compiled has the parts that ours always has.
    settings = {"TEST_DURING_TRAINING": args.evaluation, **json.loads(args.set)}
    module, config = load(args.checkout.resolve(), args.algorithm, args.kind, settings)
    config["TOTAL_TIMESTEPS"] = args.iterations * config["NUM_STEPS"] * config["NUM_ENVS"]
    output, timing = train(module, config, args.seeds, 0 if args.compile_only else args.repeats)
    if args.params is not None:
        import numpy as np

        variables = acting_variables(output)
        np.savez(args.params, **flat_params(variables), **probe(module, config, variables))
    windows = args.iterations * config["NUM_ENVS"]
    report = {"windows_per_seed": windows, "steps_per_window": config["NUM_STEPS"]}
    print(json.dumps({**timing, **report, "config": config}))


if __name__ == "__main__":
    main()
