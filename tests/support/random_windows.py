"""Windows of random numbers for losses that are compared with slow loops."""

import numpy as np

from qllm_jax.types import Window


def random_window(random, num_slots, num_envs, num_agents, num_actions):
    """A window `[T, B, ...]` with 4 observation and 2 state features, and ends of both kinds."""
    shape = (num_slots, num_envs)
    last, terminated, truncated = (np.zeros(shape, bool) for _ in range(3))
    for b in range(num_envs):
        for t in range(num_slots - 1):
            if not last[t, b] and random.random() < 0.3:
                (terminated if random.random() < 0.5 else truncated)[t, b] = True
                last[t + 1, b] = True
    avail = random.random((*shape, num_agents, num_actions)) < 0.6
    avail[..., 0] |= ~avail.any(-1)
    noise = random.random((*shape, num_agents, num_actions))
    return Window(
        obs=random.normal(size=(*shape, num_agents, 4)).astype(np.float32),
        state=random.normal(size=(*shape, 2)).astype(np.float32),
        avail_actions=avail,
        actions=np.where(avail, noise, -1).argmax(-1).astype(np.int32),
        reward=random.normal(size=shape).astype(np.float32),
        terminated=terminated,
        truncated=truncated,
        reset=np.concatenate([np.ones((1, num_envs), bool), last[:-1]]),
        last=last,
    )
