"""Where runs live: spread over this process's devices, with padding that fills them.

Called where chunks are compiled and filled, and by what times a compiled chunk.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from qllm_jax.errors import UserError
from qllm_jax.training.runs import Runs


@dataclasses.dataclass(frozen=True)
class Placement:
    """R runs on D devices, padded with copies of the last run to a multiple of D.

    Attributes:
        runs: The runs, padding included.
        sharding: Of every array with a leading run axis.
        num_runs: R, without padding; results beyond it are dropped.
    """

    runs: Runs
    sharding: NamedSharding
    num_runs: int

    @property
    def on_cpu(self) -> bool:
        """Whether the devices are the host's own."""
        return self.devices[0].platform == "cpu"

    @property
    def devices(self) -> list[jax.Device]:
        """The D devices."""
        return list(self.sharding.mesh.devices.flat)

    def place(self, tree: Any) -> Any:
        """Put arrays with a leading run axis, padding included, on the devices."""
        return jax.device_put(tree, self.sharding)

    def place_rows(self, tree: Any) -> Any:
        """As `place`, for arrays `[R, ...]` of the host that lack the padding."""
        rows = np.minimum(np.arange(len(self.runs)), self.num_runs - 1)
        return self.place(jax.tree.map(lambda leaf: np.asarray(leaf)[rows], tree))

    def fetch_rows(self, tree: Any) -> Any:
        """A copy on the host, `[R, ...]`, that outlives the donation of `tree`."""
        for leaf in jax.tree.leaves(tree):
            leaf.copy_to_host_async()
        # On the CPU an array of the host may share its memory with the device's.
        return jax.tree.map(lambda leaf: np.array(np.asarray(leaf)[: self.num_runs]), tree)

    def describe(self) -> str:
        """Such as "8 runs on 2 × cpu (cpu)", with a word on padding."""
        count, device = len(self.devices), self.devices[0]
        padding = len(self.runs) - self.num_runs
        text = f"{self.num_runs} runs on {count} × {device.device_kind} ({device.platform})"
        if padding:
            text += (
                f"; {padding} repeated run{'s' if padding > 1 else ''} fill the {len(self.runs)} "
                "places and are dropped"
            )
        return text


def local_devices(num_devices: int | None = None) -> list[jax.Device]:
    """This process's devices, or the first `num_devices` of them.

    Raises:
        UserError: There are fewer.
    """
    devices = jax.local_devices()
    if num_devices is not None and num_devices > len(devices):
        raise UserError(
            f"runner.num_devices is {num_devices}, but this process has {len(devices)} "
            f"({devices[0].platform}). Use at most {len(devices)}, or null for all."
        )
    return devices[:num_devices]


def place_runs(
    runs: Runs, devices: Sequence[jax.Device], num_places: int | None = None
) -> Placement:
    """Spread runs over `devices`.

    Args:
        runs: R runs.
        devices: All of them are used, or the first R where there are fewer runs.
        num_places: Runs with padding, a multiple of the devices that are used, so that programs of
            one size serve several waves; None is the least that fills the devices.
    """
    used = list(devices)[: num_places or len(runs)]
    places = num_places or -(-len(runs) // len(used)) * len(used)
    assert places >= len(runs), f"{len(runs)} runs in {places} places"
    assert places % len(used) == 0, f"{places} places on {len(used)} devices"
    return Placement(
        runs=runs.select(np.minimum(np.arange(places), len(runs) - 1)),
        sharding=NamedSharding(Mesh(np.array(used), ("seed",)), PartitionSpec("seed")),
        num_runs=len(runs),
    )
