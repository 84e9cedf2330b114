"""The limited child in which emitted source first meets numbers. Run as a file, `python -I`.

Imports the standard library at the top and JAX once the process is set up; of ours only the loader
of emitted source, by its path. One request or answer is one frame: eight bytes of length, then an
`.npz` without pickles whose `header` holds JSON. Standard output carries frames and nothing else.

The parent uses `trace`, `describe` and the frame functions too.
"""

import functools
import gc
import hashlib
import importlib.util
import io
import itertools
import json
import os
import pathlib
import re
import resource
import struct
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

MAX_FRAME_BYTES = 1 << 28
LENGTH_BYTES = 8
_REQUESTS_PER_CACHE = 20  # functions whose programs are kept; some 20 MiB each
_LENGTH = struct.Struct(">Q")


# --- frames -------------------------------------------------------------------------------


def pack(header: Mapping[str, Any], arrays: Mapping[str, Any]) -> bytes:
    """A frame's body with its length in front."""
    import numpy as np

    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, header=text, **arrays)
    body = buffer.getvalue()
    return _LENGTH.pack(len(body)) + body


def unpack(body: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and arrays of a frame's body. Raises ValueError for anything but arrays and JSON."""
    import numpy as np

    with np.load(io.BytesIO(body), allow_pickle=False) as data:
        arrays = {name: data[name] for name in data.files if name != "header"}
        header = json.loads(data["header"].tobytes().decode())
    return header, arrays


def frame_length(prefix: bytes) -> int:
    """Length of the body that follows. Raises ValueError past `MAX_FRAME_BYTES`."""
    (length,) = _LENGTH.unpack(prefix)
    if length > MAX_FRAME_BYTES:
        raise ValueError(f"a frame of {length} bytes; at most {MAX_FRAME_BYTES} are read")
    return length


# --- the program --------------------------------------------------------------------------


@functools.cache
def _loader() -> Any:
    """`qllm_jax/tfcaf/load.py`, by its path: the child has no package path."""
    path = pathlib.Path(__file__).resolve().parents[1] / "tfcaf" / "load.py"
    spec = importlib.util.spec_from_file_location("qllm_jax_tfcaf_load", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def trace(source: str, num_agents: int, state_dim: int) -> tuple[Any, Any]:
    """Jaxprs of `f` and of `value_and_grad(f)` in agent_qs, abstractly: nothing is computed.

    The second is None where `f` does not return one floating-point scalar.
    """
    import jax
    import jax.numpy as jnp

    shapes = (
        jax.ShapeDtypeStruct((num_agents,), jnp.float32),
        jax.ShapeDtypeStruct((state_dim,), jnp.float32),
    )
    with jax.default_matmul_precision(None):
        value = jax.make_jaxpr(lambda q, s: _loader().compile_source(source)(q, s))(*shapes)
        outputs = value.out_avals
        if len(outputs) != 1 or outputs[0].shape != () or outputs[0].dtype.kind != "f":
            return value, None
        credit = jax.make_jaxpr(
            lambda q, s: jax.value_and_grad(lambda q: _loader().compile_source(source)(q, s))(q)
        )(*shapes)
    return value, credit


def describe(closed_jaxpr: Any) -> str:
    """A digest of a program and its constants, equal in every process that traces it alike."""
    import numpy as np

    text = closed_jaxpr.pretty_print(use_color=False)  # `str` colours it where there is a terminal
    digest = hashlib.sha256(re.sub(r"0x[0-9a-f]+", "0x", text).encode())
    for constant in closed_jaxpr.consts:
        digest.update(np.asarray(constant).tobytes())
    return digest.hexdigest()


# --- dynamic indices ----------------------------------------------------------------------


def index_excess(closed_jaxpr: Any, args: tuple) -> Any:
    """How far the worst data-dependent index lies outside its array; 0 where all are inside.

    JAX clamps, fills or drops such indices silently where PyTorch and NumPy raise. An index that
    is clamped on purpose (`mode="clip"`) is not counted.
    """
    return _run(closed_jaxpr.jaxpr, closed_jaxpr.consts, args)[1]


def _run(jaxpr: Any, consts: Any, args: Any) -> tuple[list, Any]:
    import jax.numpy as jnp
    from jax.extend.core import Literal

    env = dict(zip(jaxpr.constvars, consts, strict=True))
    env.update(zip(jaxpr.invars, args, strict=True))
    worst = jnp.int32(0)
    for eqn in jaxpr.eqns:
        inputs = [v.val if isinstance(v, Literal) else env[v] for v in eqn.invars]
        outputs, inner = _step(eqn, inputs)
        worst = jnp.maximum(worst, inner)
        env.update(zip(eqn.outvars, outputs, strict=True))
    return [v.val if isinstance(v, Literal) else env[v] for v in jaxpr.outvars], worst


def _step(eqn: Any, inputs: list) -> tuple[list, Any]:
    import jax
    import jax.numpy as jnp

    name, params = eqn.primitive.name, eqn.params
    inner = params.get("jaxpr", params.get("call_jaxpr"))
    if name == "cond":
        branches = [lambda *xs, b=b: _run(b.jaxpr, b.consts, xs) for b in params["branches"]]
        return jax.lax.switch(inputs[0], branches, *inputs[1:])
    if name == "scan":
        return _scan(params, inner, inputs)
    if inner is not None:
        open_jaxpr = getattr(inner, "jaxpr", inner)
        return _run(open_jaxpr, getattr(inner, "consts", ()), inputs)
    outputs = eqn.primitive.bind(*inputs, **params)
    outputs = list(outputs) if eqn.primitive.multiple_results else [outputs]
    bounds = index_bounds(eqn)
    worst = jnp.int32(0)
    for position, limit in bounds:
        index = jnp.asarray(inputs[position], jnp.int32)
        outside = jnp.maximum(index - jnp.asarray(limit, jnp.int32), -index)
        worst = jnp.maximum(worst, jnp.max(outside, initial=0))
    return outputs, worst


def _scan(params: Mapping, body: Any, inputs: list) -> tuple[list, Any]:
    import jax

    num_consts, num_carry = params["num_consts"], params["num_carry"]
    consts = inputs[:num_consts]
    carry, xs = inputs[num_consts : num_consts + num_carry], inputs[num_consts + num_carry :]

    def step(carry, x):
        outputs, worst = _run(body.jaxpr, body.consts, [*consts, *carry, *x])
        return outputs[:num_carry], (outputs[num_carry:], worst)

    carry, (ys, worst) = jax.lax.scan(
        step, carry, xs, length=params["length"], reverse=params["reverse"]
    )
    return [*carry, *ys], worst.max(initial=0)


def index_bounds(eqn: Any) -> list[tuple[int, Any]]:
    """(position of an index operand, its largest allowed value or row of them) of an equation."""
    name, params, shapes = eqn.primitive.name, eqn.params, [v.aval.shape for v in eqn.invars]
    if "CLIP" in str(params.get("mode")):
        return []
    if name == "gather":
        dims = params["dimension_numbers"].start_index_map
        return [(1, [shapes[0][d] - params["slice_sizes"][d] for d in dims])]
    if name.startswith("scatter"):
        numbers = params["dimension_numbers"]
        hidden = {*numbers.inserted_window_dims, *numbers.operand_batching_dims}
        sizes = iter(shapes[2][d] for d in numbers.update_window_dims)
        window = [1 if d in hidden else next(sizes) for d in range(len(shapes[0]))]
        dims = numbers.scatter_dims_to_operand_dims
        return [(1, [shapes[0][d] - window[d] for d in dims])]
    if name == "dynamic_slice":
        sizes = params["slice_sizes"]
        return [(1 + d, shapes[0][d] - size) for d, size in enumerate(sizes)]
    if name == "dynamic_update_slice":
        return [(2 + d, shapes[0][d] - size) for d, size in enumerate(shapes[1])]
    return []


# --- one request --------------------------------------------------------------------------


def measure(header: Mapping[str, Any], arrays: Mapping[str, Any]) -> tuple[dict, dict]:
    """Values and credits of M points, and what else the checks compare.

    Args:
        header: `source`, `num_agents`, `state_dim`, `rows` (a vmapped call's batch), `single` (a
            list of points also run alone) and `check_indices`.
        arrays: `agent_qs` `[M, N]` and `states` `[M, D]`, float32.

    Returns:
        Header: `digest` of the traced program. Arrays: `values [M]`, `credits [M, N]`;
        `again_values`, `again_credits` of the first batch run twice; `beside_values`,
        `beside_credits` of the same batch with NaN in row `beside`; `jit_values`, `jit_credits`,
        `eager_values` of the single points; `excess [M]` where indices are checked.
    """
    import jax
    import numpy as np

    function = _loader().compile_source(header["source"])
    agent_qs, states, rows = arrays["agent_qs"], arrays["states"], header["rows"]
    batched = jax.jit(jax.vmap(jax.value_and_grad(function)))

    def run(call: Callable, qs: Any, ss: Any) -> list[Any]:
        """Call in batches of `rows`, padded with the last row: one compilation."""
        padding = -len(qs) % rows
        qs, ss = (np.concatenate([x, np.repeat(x[-1:], padding, 0)]) for x in (qs, ss))
        parts = [call(qs[i : i + rows], ss[i : i + rows]) for i in range(0, len(qs), rows)]
        leaves = zip(*(jax.tree.leaves(part) for part in parts), strict=True)
        return [np.concatenate(leaf)[: len(qs) - padding] for leaf in leaves]

    out: dict[str, Any] = {}
    out["values"], out["credits"] = run(batched, agent_qs, states)
    first_qs, first_states = agent_qs[:rows].copy(), states[:rows].copy()
    out["again_values"], out["again_credits"] = run(batched, first_qs, first_states)
    beside = len(first_qs) // 2
    first_qs[beside], first_states[beside] = np.nan, np.nan
    out["beside_values"], out["beside_credits"] = run(batched, first_qs, first_states)

    alone = jax.jit(jax.value_and_grad(function))
    single = [(agent_qs[i], states[i]) for i in header["single"]]
    jitted = [alone(q, s) for q, s in single]
    out["jit_values"] = np.array([value for value, _ in jitted])
    out["jit_credits"] = np.array([credit for _, credit in jitted])
    out["eager_values"] = np.array(
        [np.asarray(function(jax.numpy.asarray(q), jax.numpy.asarray(s))) for q, s in single]
    )
    traced, _ = trace(header["source"], header["num_agents"], header["state_dim"])
    if header["check_indices"]:
        excess = jax.jit(jax.vmap(lambda q, s: index_excess(traced, (q, s))))
        (out["excess"],) = run(excess, agent_qs, states)
    return {"digest": describe(traced), "beside": beside}, out


# --- the process --------------------------------------------------------------------------


def _status(pid: str, key: str) -> int:
    """A number of a process of this user, from /proc; 0 where there is none."""
    try:
        with open(f"/proc/{pid}/status") as lines:
            fields = dict(line.split(":", 1) for line in lines)
    except (OSError, ValueError):
        return 0
    same_user = int(fields["Uid"].split()[0]) == os.getuid()
    return int(fields[key].split()[0]) if same_user else 0


def _free_bytes() -> int:
    """Address space left."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return limit - _status("self", "VmSize") * 1024


def _limit_process(memory_bytes: int) -> None:
    """No files, few descriptors, no core dumps, bounded memory and threads; cannot be undone."""

    def lower(which: int, value: int) -> None:
        hard = resource.getrlimit(which)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (value, value))

    pids = [pid for pid in os.listdir("/proc") if pid.isdigit()] if os.path.isdir("/proc") else []
    mapped = _status("self", "VmSize") * 1024
    lower(resource.RLIMIT_NPROC, sum(_status(pid, "Threads") for pid in pids) + 256)
    lower(resource.RLIMIT_AS, max(memory_bytes, mapped + memory_bytes // 2))
    lower(resource.RLIMIT_FSIZE, 0)
    lower(resource.RLIMIT_CORE, 0)
    lower(resource.RLIMIT_NOFILE, 64)


def _facts() -> dict[str, Any]:
    """What a test asks of the child: its environment and limits."""
    names = ("AS", "FSIZE", "CORE", "NOFILE", "NPROC")
    limits = {name: resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[0] for name in names}
    return {"environment": dict(os.environ), "limits": limits, "directory": os.getcwd()}


def _answer(header: Mapping[str, Any], arrays: Mapping[str, Any]) -> bytes:
    try:
        if header["kind"] == "facts":
            return pack(_facts(), {})
        info, out = measure(header, arrays)
        return pack(info | {"free_bytes": _free_bytes()}, out)
    except MemoryError:
        return pack({"error": "MemoryError", "message": "out of memory"}, {})
    except Exception as error:
        return pack({"error": type(error).__name__, "message": str(error)[:2000]}, {})


def _set_up(memory_bytes: int, paths: list[str]) -> None:
    sys.path += [path for path in paths if path not in sys.path]
    import jax
    import jax.numpy as jnp

    # Compiles once before the limits, so that XLA's own threads and files are there already.
    warm = jax.jit(jax.vmap(jax.value_and_grad(lambda q, s: jnp.sum(q) * s[0])))
    jax.block_until_ready(warm(jnp.ones((2, 2)), jnp.ones((2, 1))))
    _limit_process(memory_bytes)


def _drop_caches() -> None:
    """Forget compiled programs, so that memory does not grow with every function."""
    import jax

    jax.clear_caches()
    gc.collect()


def main() -> None:
    """Serve requests until standard input ends. Arguments: memory limit in bytes, JSON paths."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    started = time.monotonic()
    _set_up(int(sys.argv[1]), json.loads(sys.argv[2]))
    answers.write(pack({"ready": time.monotonic() - started}, {}))
    answers.flush()
    for count in itertools.count(1):
        prefix = requests.read(LENGTH_BYTES)
        if not prefix:
            return
        header, arrays = unpack(requests.read(frame_length(prefix)))
        answers.write(_answer(header, arrays))
        answers.flush()
        if count % _REQUESTS_PER_CACHE == 0:
            _drop_caches()


if __name__ == "__main__":
    main()
