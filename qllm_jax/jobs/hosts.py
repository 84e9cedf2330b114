"""Several hosts as one job: who is who, agreed through JAX's own multi-controller runtime.

Seeds are independent, so every host trains its share by itself, as an ordinary process, and no
array crosses hosts. They agree on two things only: each process's number, and the time stamp that
names the job's directories. A short-lived child process asks `jax.distributed` for both, so that
the training process's own JAX sees this host's devices only. Called by the jobs that several hosts
share.
"""

import dataclasses
import json
import subprocess
import sys

from qllm_jax.config import HostsConfig
from qllm_jax.errors import UserError, require

_JOIN = """
import json, sys
import jax
import numpy as np
from jax.experimental import multihost_utils

address, count, index, timeout_s, stamp = json.loads(sys.argv[1])
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(address, count, index, initialization_timeout=timeout_s)
mine = np.frombuffer(stamp.encode().ljust(64), np.uint8)
first = bytes(np.asarray(multihost_utils.broadcast_one_to_all(mine))).decode().strip()
print(json.dumps([jax.process_index(), jax.process_count(), first]))
"""


@dataclasses.dataclass(frozen=True)
class Hosts:
    """This process among those of a job.

    Attributes:
        index: From 0; the first writes what all of them share.
        count: Processes in all.
        stamp: The same on all hosts, another for every start of the job.
    """

    index: int = 0
    count: int = 1
    stamp: str = ""

    @property
    def is_first(self) -> bool:
        """Whether this process speaks for all."""
        return self.index == 0

    def share(self, first: int, count: int) -> tuple[int, int]:
        """This host's part of `count` seeds from `first` on, as `(first, count)`.

        Raises:
            UserError: There are fewer seeds than hosts.
        """
        require(
            count >= self.count,
            f"runner.num_seeds is {count}, for {self.count} hosts; give each one at least.",
        )
        start, end = (count * part // self.count for part in (self.index, self.index + 1))
        return first + start, end - start


ALONE = Hosts()  # one process and no other


def join_hosts(config: HostsConfig, stamp: str) -> Hosts:
    """Find the other processes of the job; alone where no coordinator is set.

    Args:
        config: Where they are.
        stamp: At most 64 characters; what the first host gives is what all get.

    Raises:
        UserError: They could not be found.
    """
    if config.coordinator is None:
        return Hosts(stamp=stamp)
    address = None if config.coordinator == "auto" else config.coordinator
    asked = json.dumps([address, config.count, config.index, config.timeout_s, stamp])
    joined = subprocess.run(
        [sys.executable, "-c", _JOIN, asked], capture_output=True, text=True, check=False
    )
    if joined.returncode:
        lines = joined.stderr.strip().splitlines() or ["no reason was given"]
        raise UserError(
            f"the hosts could not be joined (hosts.coordinator={config.coordinator}): "
            f"{lines[-1][:300]} With `auto` JAX asks SLURM, Open MPI, Kubernetes or a TPU pod; "
            "elsewhere give hosts.coordinator=ADDRESS:PORT of the first process, hosts.count and "
            "hosts.index."
        )
    return Hosts(*json.loads(joined.stdout.strip().splitlines()[-1]))
