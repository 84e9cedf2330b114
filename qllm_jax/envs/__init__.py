"""Environments: the stacked interface, the adapter from JaxMARL's, and our own.

`jaxmarl_adapter` needs no JaxMARL; our own environments import it (which initialises the
accelerator), so the catalog imports them when a task is built.
"""

from qllm_jax.envs.team import TeamEnv

__all__ = ["TeamEnv"]
