# ruff: noqa: E501
"""Expressions for per-operation tests: `m` is numpy or jnp; x is [3, 4], q [3], i int [3, 4].

x depends on q, so that gradients flow; b is a boolean [3, 4]; v is [4].
"""

import re

COMMON = """
m.exp(x) | m.expm1(x) | m.exp2(x) | m.log(m.abs(x) + 1) | m.log2(m.abs(x) + 1) | m.log10(m.abs(x) + 1)
m.log1p(m.abs(x)) | m.sqrt(m.abs(x) + 0.1) | m.cbrt(x) | m.square(x) | m.abs(x) | m.absolute(x)
m.fabs(x) | m.sign(x) | m.negative(x) | m.positive(x) | m.reciprocal(x + 9.0) | m.sin(x) | m.cos(x)
m.tan(x) | m.arcsin(m.tanh(x)) | m.arccos(m.tanh(x)) | m.arctan(x) | m.sinh(x) | m.cosh(x) | m.tanh(x)
m.arcsinh(x) | m.arccosh(x * x + 1.5) | m.arctanh(m.tanh(x) * 0.5) | m.floor(x) | m.ceil(x) | m.trunc(x)
m.rint(x) | m.deg2rad(x) | m.rad2deg(x) | m.degrees(x) | m.radians(x) | m.sinc(x) | m.round(x, 1)
m.round(x) | x.round() | m.isnan(x) | m.isinf(x) | m.isfinite(x) | m.logical_not(b) | m.invert(b)
m.add(x, v) | m.subtract(x, v) | m.multiply(x, v) | m.divide(x, 2 + v * v) | m.true_divide(x, 3)
m.floor_divide(x, 0.7) | m.remainder(x, 0.7) | m.mod(x, 0.7) | m.fmod(x, 0.7) | m.power(m.abs(x) + 1, 1.5)
m.power(x, 2) | m.float_power(m.abs(x) + 1, 2) | m.maximum(x, v) | m.minimum(x, 0.1) | m.fmax(x, v)
m.fmin(x, v) | m.hypot(x, v) | m.arctan2(x, v) | m.logaddexp(x, v) | m.copysign(x, v) | m.heaviside(x, 0.5)
m.equal(i, 1) | m.not_equal(i, 1) | m.less(x, v) | m.less_equal(x, v) | m.greater(x, v)
m.greater_equal(x, v) | m.logical_and(b, x > 0.5) | m.logical_or(b, x > 0.5) | m.logical_xor(b, x > 0.5)
m.bitwise_and(b, x > 0) | m.bitwise_or(i, 1) | m.bitwise_xor(i, 3) | b & (x > 0) | b | ~b | i << 1
m.isclose(x, x + 1e-9) | m.clip(x, -0.5, 0.5) | m.clip(x, None, 0.3)
x.clip(-0.3, 0.4) | x.clip(min=0.1) | m.nan_to_num(x) | m.nan_to_num(x / 0.0, nan=1.0, posinf=2.0, neginf=3.0)
m.where(b, x, 0.0) | m.where(x > v, x, v) | m.select([x > 0.5, x > 0], [x, 2 * x], -1.0)
x.astype(int) | x.astype(m.int32) | b.astype(m.float32) | m.sum(x) | x.sum(axis=1) | x.sum(0)
m.sum(x, axis=-1, keepdims=True) | m.sum(x, axis=(0, 1)) | m.sum(b) | b.sum(1) | m.sum(x, where=b)
m.sum(x, 1, initial=2.0) | m.prod(x, axis=1) | x.prod() | m.mean(x) | x.mean(-1, keepdims=True)
m.mean(x, axis=0) | m.mean(b, axis=1) | m.max(x) | m.amax(x, axis=1) | x.max(1) | x.min(axis=0)
m.amin(x, axis=1, keepdims=True) | m.min(x, axis=1, where=b, initial=9.0) | m.std(x) | x.std(axis=1)
m.var(x, axis=0) | x.var(1, ddof=1) | m.std(x, axis=1, ddof=1, keepdims=True) | m.median(x) | m.median(x, axis=1)
m.median(x[:, :3], axis=1, keepdims=True) | m.ptp(x, axis=1) | m.any(x > 1, axis=1) | m.all(b, axis=1)
(x > 0).any(axis=1) | b.all(-1, keepdims=True) | m.count_nonzero(b, axis=1) | m.argmax(x, axis=1)
m.argmin(x, axis=0) | x.argmax() | x.argmin(-1) | m.average(x, axis=1) | m.average(x, axis=1, weights=v + 9)
m.average(x, weights=x * x + 1) | m.quantile(x, 0.3, axis=1) | m.percentile(x, 40, axis=1) | m.quantile(x, m.array([0.2, 0.7]), axis=1)
m.nansum(x, axis=1) | m.nanmean(x, axis=1) | m.nanmax(x, axis=1)
m.nanmin(x) | m.nanstd(x, axis=1) | m.cumsum(x, axis=1) | x.cumsum(0) | m.cumsum(q) | m.cumprod(x, axis=1)
m.cumsum(x) | m.diff(x, axis=1) | m.diff(q) | m.diff(x, n=2) | m.sort(x, axis=1) | m.sort(x) | m.sort(q)[::-1]
m.argsort(x, axis=1) | x.argsort() | m.argsort(-x, axis=-1) | m.argsort(x, axis=0) | m.partition(x, 1, axis=1)[:, :1]
m.take(x, m.array([0, 2]), axis=1) | x.take(i[0] % 3, axis=0) | m.take(q, m.array([2, 0]))
m.take_along_axis(x, m.argsort(x, axis=1), axis=1) | m.take_along_axis(x, i[:, :1] % 4, axis=1)
m.dot(x, v) | m.dot(q, q) | x.dot(v) | m.vdot(q, q) | m.inner(x, x) | m.inner(q, q) | m.outer(q, v)
m.matmul(x, x.T) | x @ v | x @ x.T | m.tensordot(x, x, axes=2) | m.tensordot(x, v, axes=1) | m.tensordot(x, x, axes=([1], [1]))
m.einsum('ij,j->i', x, v) | m.einsum('ij,ij->', x, x) | m.einsum('ij,kj->ik', x, x) | m.kron(q, v) | m.trace(x[:, :3])
m.linalg.norm(x) | m.linalg.norm(x, axis=1) | m.linalg.norm(x, axis=-1, keepdims=True) | m.linalg.norm(q, 1)
m.linalg.norm(x, ord=1, axis=1) | m.linalg.norm(x, m.inf, axis=1) | m.linalg.norm(x, 'fro') | m.linalg.norm(q)
m.linalg.det(x[:, :3]) | m.linalg.inv(x[:, :3] + 9 * m.eye(3)) | m.linalg.solve(x[:, :3] + 9 * m.eye(3), q)
m.linalg.inv(x[:, :3] @ x[:, :3].T + 9 * m.eye(3)) | m.linalg.slogdet(x[:, :3] + 9 * m.eye(3))[1] | m.linalg.det(x[:, :3] @ x[:, :3].T + m.eye(3)) | m.linalg.cholesky(x[:, :3] @ x[:, :3].T + 9 * m.eye(3)) | m.corrcoef(x + m.arange(12.0).reshape(3, 4) ** 2)
m.cross(x[:, :3], x[:, 1:]) | m.diag(q) | m.diag(x[:, :3]) | m.diag(x[:, :3], 1) | m.diagonal(x[:, :3]) | m.triu(x) | m.tril(x, -1)
m.reshape(x, (4, 3)) | x.reshape(2, 6) | x.reshape(-1) | x.reshape((4, -1)) | x.ravel() | m.ravel(x) | x.flatten()
x.T | m.transpose(x) | x.transpose(1, 0) | m.transpose(x, (1, 0)) | x.swapaxes(0, 1) | m.swapaxes(x, 0, -1)
m.moveaxis(x, 0, 1) | m.expand_dims(x, 1) | m.expand_dims(x, (0, -1)) | x[:, None].squeeze(1) | m.squeeze(x[None])
m.concatenate([x, x * 2], axis=1) | m.stack([i, i * 2], dtype='float32') / 2 | m.concatenate((x, v[None])) | m.stack([q, q * 2]) | m.stack([x, x], axis=-1)
m.stack((q, q + 1), 1) | m.vstack([x, v]) | m.hstack([x, x]) | m.hstack([q, v]) | m.column_stack([q, q]) | m.dstack([x, x])
m.split(x, 2, axis=1)[1] | m.split(x, [1, 3], axis=1)[1] | m.array_split(v, 3)[0] | m.hsplit(x, 2)[0] | m.vsplit(x, 3)[2]
m.tile(v, 2) | m.tile(x, (2, 1)) | m.repeat(v, 2) | m.repeat(x, 2, axis=0) | x.repeat(3, axis=1) | m.roll(x, 1, axis=1)
m.roll(x, -1) | m.flip(x, axis=1) | m.flip(x) | m.fliplr(x) | m.flipud(x) | m.pad(x, 1) | m.pad(x, ((0, 0), (1, 2)))
m.pad(v, (1, 1), constant_values=3.0) | m.pad(x, ((1, 1), (0, 0)), mode='edge') | m.broadcast_to(v, (3, 4)) | m.atleast_2d(q)
m.append(q, v) | m.append(x, x, axis=1) | m.rot90(x) | m.delete(x, 1, axis=1) | m.broadcast_arrays(x, v)[1]
m.arange(4) * v | m.arange(1, 5) + x | m.arange(0.0, 1.0, 0.25) * v | m.linspace(0, 1, 4) * v | m.zeros((3, 4)) + x
m.ones(4) * v | m.full((3, 4), 2.5) * x | m.full(4, 0.1) + v | m.eye(3) @ x | m.eye(3, 4) * x | m.identity(3) @ q
m.zeros_like(x) + v | m.ones_like(q) * q | m.full_like(q, 0.5) + q | m.tri(3) @ q | m.array([1.0, 2.0, 3.0, 4.0]) * v
m.array([q[0], q[1] * 2]) | m.asarray(x) | m.array([[1, 2], [3, 4]]) @ q[:2] | m.array([x[0], x[1]]) | m.meshgrid(m.arange(3), m.arange(4), indexing='ij')[0] * x
m.meshgrid(q, v)[0] | m.indices((3, 4))[1] * x | m.triu_indices(3, 1)[0] + 0.0 | x[m.triu_indices(3, 1)] | m.zeros(3, dtype=m.float32) + q
m.pi * x | x[m.newaxis] | m.e * q | m.float32(2.0) * x | m.int32(2) * i
x.shape[0] * q | x.ndim * q | x.size * q | len(x) * q | x[..., 0] | x[:, ::2] | x[1:, -1] | x[:, [1, 0]] | x[i[:, 0] % 3]
x[m.arange(3), i[:, 0] % 4] | -x | x ** 2 | x / 2 | x // 0.5 | x % 0.5 | 2 ** x | x > v | (x == x) * 1.0 | abs(x) | sum(x) | max(q[0], q[1])
m.searchsorted(m.array([0.0, 0.5, 1.0]), q) | m.digitize(q, m.array([0.0, 0.5])) | m.cov(x) | m.interp(q, m.array([0.0, 1.0]), m.array([2.0, 3.0]))
m.polyval(m.array([1.0, 2.0, 3.0]), q) | m.logspace(0, 1, 4) * v
m.convolve(v, q) | m.convolve(v, m.array([0.25, 0.5, 0.25]), mode='same') | m.correlate(v, q) | m.allclose(q, q + 1e-9) * q | m.allclose(q, v[:3]) * q
m.isin(i, m.array([0, 2])) | m.isin(i, 1, invert=True) | m.gradient(q) | m.gradient(x, axis=1) | m.gradient(x, 0.5, axis=0) | m.gradient(x)[1] | m.ediff1d(q)
m.unravel_index(i, (2, 2))[1] | m.unravel_index(m.argmax(x), (3, 4))[0] * q | m.ravel_multi_index((i[:, 0], i[:, 1]), (3, 3)) | x[m.ix_(m.array([0, 2]), m.array([1, 3]))]
m.where(m.eye(3) > 0)[0] * q | x[m.nonzero(m.eye(3, 4))] | m.argwhere(m.triu(m.ones((3, 3)), 1))[:, 1] * q | m.flatnonzero(m.arange(4) % 2) * q[:2]
x.mean(axis=(0, 1)) | m.max(x, axis=(0, 1)) | m.prod(m.array([2.0, 3.0])) * q | m.sqrt(2.0) * q
"""

NUMPY_ONLY = """
np.concatenate([q, [1.0, 2.0]]) | np.stack([q, [1.0, 2.0, 3.0]]) | np.hstack([[0.5], q]) | x[:, np.array([True, False, True, True])] | x[~np.eye(3, 4, dtype=bool)].reshape(3, 3)
np.size(x) * q | np.size(x, axis=1) * q | np.size(x, 0) * q | np.shape(x)[1] * q | np.ndim(x) * q | x[x > 0].size * q
np.linalg.cholesky(x[:, :3] + 9 * np.eye(3))
x[[0, 2]] | np.quantile(x, [0.2, 0.7], axis=1) | np.clip(x, a_min=0, a_max=1) | np.float64(2.0) * x | np.array(x, dtype=np.float64) | np.max([q[0], q[1]]) | x.copy() | np.copy(x)
np.mean([q[0], q[2]]) | np.sum([q[0], 2.0]) | np.maximum.accumulate(v) | np.minimum.accumulate(x, axis=1) | np.trapezoid(v) | np.trapezoid(x, np.linspace(0.0, 1.0, 4) ** 2, axis=1)
np.linalg.norm(x, axis=(0, 1)) | np.dot(x, x.T) | np.finfo(np.float32).eps + x | np.float32(x) | np.asarray(q, dtype=np.float32)
scipy.special.expit(x) | scipy.special.softmax(x, axis=1) | scipy.special.log_softmax(x, axis=-1) | scipy.special.logsumexp(x, axis=1) | scipy.special.xlogy(q * q, q * q + 1) | scipy.special.entr(scipy.special.softmax(q))
scipy.special.erf(x) | scipy.special.rel_entr(scipy.special.softmax(q), scipy.special.softmax(-q)) | scipy.linalg.block_diag(np.eye(2), q) | scipy.spatial.distance.cdist(x, x[:2] + 1) | scipy.spatial.distance.cdist(x, x, "cityblock")
x[b].sum() * q | np.mean(x[b]) * q | x[i >= 0].max() * q | x[x[:, 0] > -9].mean(axis=0) | np.any(x[b] > 1) * q | np.prod(q[q > 0]) * q
np.array(q.tolist()) | sum(i[0].tolist()) * q | np.array([j for j, k in np.argwhere(np.eye(3)).tolist()]) * q
np.size(x) * q | np.shape(x)[0] * q | np.ndim(x) * q | np.inf > x | x.dtype == np.float64 or x
"""

JNP_ONLY = """
jax.nn.softmax(x) | jax.nn.softmax(x, axis=0) | jax.nn.log_softmax(x, axis=-1) | jax.nn.logsumexp(x, axis=1)
jax.nn.logsumexp(x, axis=-1, keepdims=True) | jax.scipy.special.logsumexp(x) | jax.nn.sigmoid(x) | jax.nn.relu(x)
jax.nn.relu6(x * 9) | jax.nn.softplus(x) | jax.nn.gelu(x) | jax.nn.gelu(x, approximate=False) | jax.nn.silu(x) | jax.nn.swish(x)
jax.nn.elu(x) | jax.nn.elu(x, alpha=0.5) | jax.nn.celu(x) | jax.nn.selu(x) | jax.nn.leaky_relu(x) | jax.nn.leaky_relu(x, 0.2)
jax.nn.hard_tanh(x) | jax.nn.hard_sigmoid(x) | jax.nn.log_sigmoid(x) | jax.nn.soft_sign(x) | jax.nn.tanh(x) | jax.nn.mish(x)
jax.nn.squareplus(x) | jax.nn.one_hot(i, 4) | jax.nn.one_hot(i[:, 0], 5, axis=0) | jax.nn.standardize(x) | jax.nn.standardize(x, axis=0)
jax.nn.glu(x) | jax.scipy.special.expit(x) | jax.scipy.special.erf(x) | jax.scipy.special.xlogy(q * q, q * q + 1)
lax.add(x, x) | lax.mul(x, x) | lax.sub(x, x * 2) | lax.div(x, x * x + 1) | lax.max(x, x * 2) | lax.min(x, x * 2) | lax.neg(x)
lax.exp(x) | lax.log(x * x + 1) | lax.sqrt(x * x + 1) | lax.rsqrt(x * x + 1) | lax.tanh(x) | lax.logistic(x) | lax.abs(x)
lax.sign(x) | lax.floor(x) | lax.ceil(x) | lax.round(x) | lax.square(x) | lax.integer_pow(x, 3) | lax.pow(x * x + 1, 1.5)
lax.select(b, x, -x) | lax.select_n(b, x, -x) | lax.clamp(-0.5, x, 0.5) | lax.stop_gradient(x) * x | lax.top_k(x, 2)[0] | lax.top_k(x, 2)[1] | lax.erf(x)
lax.dynamic_slice(x, (1, 0), (2, 3)) | lax.dynamic_slice_in_dim(x, 1, 2, axis=1) | lax.dynamic_index_in_dim(x, 1, 0, keepdims=False)
lax.dynamic_slice_in_dim(v, i[0, 0], 2) | lax.index_in_dim(x, 1, axis=1) | lax.slice_in_dim(x, 1, 3, axis=1) | lax.cumsum(x, axis=1) | lax.cummax(x, axis=1)
lax.dynamic_update_slice(x, x[:1, :2], (1, 1)) | lax.argmax(x, 1, jnp.int32) | lax.expand_dims(x, (0,)) | lax.squeeze(x[None], (0,))
lax.concatenate([x, x], 0) | lax.rev(x, (1,)) | lax.transpose(x, (1, 0)) | lax.convert_element_type(i, jnp.float32)
x.at[0].set(1.0) | x.at[:, 1].add(2.0) | x.at[0, 1].multiply(3.0) | x.at[1:].divide(2.0) | x.at[0].min(0.1) | x.at[0].max(0.1)
x.at[0].power(2) | x.at[0].set(1.0, mode="drop") | x.at[0].get(mode="clip") | x.at[jnp.array([0, 2])].set(5.0) | x.at[0].get() | x.at[:, jnp.array([1, 1])].add(1.0) | x.at[x > 0].set(0.0)
x.at[x > 0].multiply(0.5) | x.at[...].set(2.0) | x.at[0].subtract(q[0]) | x.mT | x.astype(jnp.int32) | jnp.sort(x, axis=1, descending=True)
jax.vmap(lambda r: r.sum())(x) | jax.vmap(lambda r, s: r * s)(x, q) | jax.vmap(jnp.dot, in_axes=(0, None))(x, v)
jax.vmap(lambda r: r * 2, in_axes=1)(x) | jax.vmap(lambda r: r * 2, in_axes=1, out_axes=1)(x) | jax.vmap(jnp.sum)(x)
jax.vmap(jax.vmap(lambda a: a + 1))(x) | jax.vmap(lambda a: jax.vmap(lambda c: (a * c).sum())(x))(x) | jax.vmap(lambda r: (r.max(), r.min()))(x)[1]
lax.cond(True, lambda t: t, lambda t: -t, x) | lax.cond(q[0] > 0, lambda t: t, lambda t: -t, x) | lax.cond(q[0] > 0, lambda: x, lambda: x * 2)
lax.switch(1, [lambda t: t, lambda t: 2 * t], x) | lax.switch(i[0, 0], [lambda t: t, lambda t: 2 * t, lambda t: 3 * t], x)
lax.fori_loop(0, 3, lambda k, c: c + q[k], 0.0) | lax.fori_loop(0, 3, lambda k, c: c.at[k].multiply(2.0), q)
lax.fori_loop(0, 2, lambda k, c: (c[0] + c[1], c[1] * 2), (q, q))[0] | lax.scan(lambda c, t: (c + t, c * t), 0.0, q)[1]
lax.scan(lambda c, t: (c + t[0] * t[1], None), 0.0, (q, q))[0] | lax.map(lambda r: r.sum(), x) | lax.scan(lambda c, t: (c * 2, c), q, None, length=3)[1]
lax.associative_scan(jnp.add, q) | jax.tree_util.tree_map(lambda t: t * 2, x) | jax.jit(lambda t: t * 2)(x)
lax.reduce_max(x, (1,)) | lax.reduce_min(x, axes=(0,)) | lax.reduce_sum(x, (0, 1)) | lax.reduce_prod(x, (1,)) | lax.reduce_and(b, (1,)) | lax.reduce_or(b, (0,))
lax.pad(x, 0.0, ((0, 0, 0), (1, 2, 0))) | lax.pad(q, 1.0, [(1, -1, 1)]) | lax.dot_general(x, x, (((1,), (1,)), ((), ()))) | lax.dot_general(x, x, (((1,), (1,)), ((0,), (0,)))) | lax.reshape(x, (4, 3))
lax.dynamic_update_index_in_dim(x, v, 1, 0) | lax.dynamic_update_index_in_dim(q, 2.0, i[0, 0], 0) | lax.dynamic_update_slice_in_dim(x, x[:2], i[0, 0], 0) | jnp.nonzero(b[0], size=2, fill_value=0)[0] * q[:2]
jax.scipy.special.entr(jax.nn.softmax(q)) | jax.scipy.linalg.block_diag(q[:, None], jnp.eye(2)) | jax.scipy.special.kl_div(jax.nn.softmax(q), jax.nn.softmax(-q))
lax.full((3,), 2.0) * q | lax.iota(jnp.float32, 3) * q
jnp.float32(0.5) * x | jnp.array(x, dtype=jnp.float32) | jnp.asarray(q) | lax.full_like(q, 2.0) + q | jnp.where(b, x, jnp.inf).min(1) | jnp.concat([x, x])
"""


def expressions(text: str) -> list[str]:
    """The expressions of a table."""
    found = []
    for line in text.strip().split("\n"):
        found += [item.strip() for item in line.split(" | ") if item.strip()]
    return found


def spelled(expression: str, module: str) -> str:
    """`m.exp(x)` with the module's name; names that end in m stay."""
    return re.sub(r"(?<![\w.])m\.", f"{module}.", expression)


def source(expression: str, size: int, imports: str) -> str:
    """A function that mixes the `size` numbers of an expression, each with its own weight."""
    module = "jnp" if "jnp" in imports else "np"
    return f"""{imports}

def f(agent_qs, state):
    q = agent_qs
    x = state.reshape(3, 4) * (1.0 + 0.1 * q[:, None])
    v = x[1]
    b = state.reshape(3, 4) > 0
    i = {module}.abs(state.reshape(3, 4) * 2).astype(int) % 3
    r = {expression}
    return {module}.sum({module}.ravel(r) * {module}.linspace(1.0, 2.0, {size})) + 0.0 * q.sum()
"""
