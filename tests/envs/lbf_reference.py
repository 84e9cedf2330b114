"""Play the real lbforaging package and write down everything: the parity test's other side.

    python tests/envs/lbf_reference.py 1200 tests/envs/data/lbf_golden.npz

Needs lbforaging and NumPy only. Half of the actions go for food, so that pickups occur.
"""

import sys

import numpy as np

TASKS = {
    "lbf/8x8-2p-2f-coop": "Foraging-2s-8x8-2p-2f-coop-v3",
    "lbf/10x10-3p-3f": "Foraging-2s-10x10-3p-3f-v3",
    "lbf/15x15-4p-3f": "Foraging-15x15-4p-3f-v3",
}


def snapshot(env):
    """(agents [N, 3], foods by row-major cell [(row, col, level)], legal actions [N, 6])."""
    agents = [(*player.position, player.level) for player in env.players]
    foods = [(row, col, env.field[row, col]) for row, col in np.argwhere(env.field)]
    legal = [[a.value for a in env._valid_actions[player]] for player in env.players]
    return agents, foods, [[a in row for a in range(6)] for row in legal]


def choose(rng, env):
    """Random actions, or a step towards the nearest food and loading beside it."""
    actions = []
    foods = np.argwhere(env.field > 0)
    goal = foods[rng.integers(len(foods))] if len(foods) else np.zeros(2, int)
    for player in env.players:
        row, col = goal - player.position
        if rng.random() < 0.4:
            actions.append(int(rng.integers(6)))
        elif abs(row) + abs(col) == 1:
            actions.append(5)
        elif abs(row) > abs(col) or (abs(row) == abs(col) and rng.random() < 0.5):
            actions.append(1 if row < 0 else 2)
        else:
            actions.append(3 if col < 0 else 4)
    return actions


def record(task, num_steps, seed=0):
    """`num_steps` transitions of whole and cut episodes, as arrays with a leading axis."""
    import gymnasium
    import lbforaging  # noqa: F401  (registers the environments)

    env = gymnasium.make(TASKS[task], disable_env_checker=True).unwrapped
    rng = np.random.default_rng(seed)
    rows = []
    while len(rows) < num_steps:
        obs, _ = env.reset(seed=int(rng.integers(2**31)))
        agents, foods, legal = snapshot(env)
        first_foods, done, step = foods, False, 0
        while not done and len(rows) < num_steps:
            actions = choose(rng, env)
            before = agents, [_still(food, foods) for food in first_foods], legal, obs
            obs, reward, done, _, _ = env.step(actions)
            agents, foods, legal = snapshot(env)
            after = agents, [_still(food, foods) for food in first_foods], legal, obs
            rows.append((step, first_foods, before, actions, reward, done, after))
            step += 1
    return _stacked(rows)


def _still(food, foods):
    return food if food in foods else (food[0], food[1], 0)


def _stacked(rows):
    steps, first, before, actions, rewards, dones, after = zip(*rows, strict=False)
    arrays = {
        "step": np.array(steps, np.int8),
        "food_total": np.array([[food[2] for food in foods] for foods in first]).sum(1),
        "actions": np.array(actions, np.int8),
        "rewards": np.array(rewards, np.float32),
        "done": np.array(dones),
    }
    for label, side in (("before", before), ("after", after)):
        agents, foods, legal, obs = zip(*side, strict=False)
        arrays[f"{label}.agents"] = np.array(agents, np.int8)
        arrays[f"{label}.foods"] = np.array(foods, np.int8)
        arrays[f"{label}.legal"] = np.array(legal)
        arrays[f"{label}.obs"] = np.array(obs, np.int8)
    return arrays


if __name__ == "__main__":
    golden = {
        f"{task}:{name}": array
        for task in TASKS
        for name, array in record(task, int(sys.argv[1])).items()
    }
    np.savez_compressed(sys.argv[2], **golden)
