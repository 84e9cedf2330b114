"""Process-wide settings of JAX, and how many cores there are. Imports neither JAX nor ours.

Called by the two commands, `cli` and `multirun`, before JAX starts; `bench` asks for the cores.
"""

import os
from pathlib import Path

_HOST_DEVICES_FLAG = "--xla_force_host_platform_device_count"


def configure_runtime() -> None:
    """Prepare the environment for JAX; call before the first `import jax`.

    Splits the CPU into one XLA device per core, since XLA's intra-op threads hardly speed up
    matrices this small while sharding seeds over devices does, and turns the persistent
    compilation cache on. Settings that the person made in the environment are kept.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if _HOST_DEVICES_FLAG not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {_HOST_DEVICES_FLAG}={available_cores()}".strip()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qllm-jax" / "xla"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "1.0")
    # XLA's warnings about cached CPU code say nothing a researcher can act on.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def available_cores() -> int:
    """CPU cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
