"""What the machine can do: its measured rate of matrix products and of moving memory.

These are the floor that a program's time is compared with. Both are measured on all devices at
once, since cores and memory channels are shared.
"""

import dataclasses
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from qllm_jax.runtime import available_cores
from qllm_jax.training import matmul_precision_scope, precision_used

_REPEATS = 5


@dataclasses.dataclass(frozen=True)
class Machine:
    """A description that stands beside every number.

    Attributes:
        device: Kind of the devices, such as "NVIDIA H200".
        platform: "cpu", "gpu" or "tpu".
        num_devices: XLA devices that were used.
        processor: The host's processor.
        num_cores: Cores that this process may use.
        load: The host's load average over the last minute, when the measurement began.
        matmul_precision: Of the products below.
        matmul_flops_per_s: Measured rate of large float32 products, over all devices.
        bytes_per_s: Measured rate of reading and writing large arrays, over all devices.
        versions: Of Python and JAX.
    """

    device: str
    platform: str
    num_devices: int
    processor: str
    num_cores: int
    load: float
    matmul_precision: str
    matmul_flops_per_s: float
    bytes_per_s: float
    versions: dict[str, str]


def measure_machine(devices: Sequence[jax.Device], matmul_precision: str) -> Machine:
    """Describe the machine and measure its two rates; takes some seconds.

    Args:
        devices: All are used at once.
        matmul_precision: `highest`, `tf32` or `bf16`.
    """
    load = os.getloadavg()[0]
    on_cpu = devices[0].platform == "cpu"
    size, elements = (1024, 1 << 24) if on_cpu else (8192, 1 << 28)
    with matmul_precision_scope(matmul_precision):
        product_s = _seconds(lambda x: (x @ x) / size, (size, size), devices)
    moved_s = _seconds(lambda x: x + 1.0, (elements,), devices)
    return Machine(
        device=devices[0].device_kind,
        platform=devices[0].platform,
        num_devices=len(devices),
        processor=processor_name(),
        num_cores=available_cores(),
        load=load,
        matmul_precision=precision_used(matmul_precision, devices[0].platform),
        matmul_flops_per_s=len(devices) * 2.0 * size**3 / product_s,
        bytes_per_s=len(devices) * 8.0 * elements / moved_s,
        versions={"python": platform.python_version(), "jax": jax.__version__},
    )


def _seconds(
    function: Callable[[jax.Array], jax.Array],
    shape: tuple[int, ...],
    devices: Sequence[jax.Device],
) -> float:
    """Median seconds of `function` on one array of `shape` per device, all at the same time."""
    mesh = Mesh(np.array(devices), ("device",))
    sharding = NamedSharding(mesh, PartitionSpec("device"))
    array = jax.jit(
        lambda: jnp.full((len(devices), *shape), 0.5, jnp.float32), out_shardings=sharding
    )()
    on_all = jax.jit(
        jax.shard_map(
            lambda rows: function(rows[0])[None],
            mesh=mesh,
            in_specs=PartitionSpec("device"),
            out_specs=PartitionSpec("device"),
        ),
        donate_argnums=0,  # memory that was never touched costs page faults, not bandwidth
    )
    array = jax.block_until_ready(on_all(array))
    seconds = []
    for _ in range(_REPEATS):
        begin = time.perf_counter()
        array = jax.block_until_ready(on_all(array))
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


def processor_name() -> str:
    """The host's processor, where the system says it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for text in info.read_text().splitlines():
            if text.startswith("model name"):
                return text.split(":", 1)[1].strip()
    return platform.processor() or "unknown"
