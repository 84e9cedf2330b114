"""Small functions that emitted source carries with it where one jnp expression is not enough.

Their text is fixed, so that translating our own output finds them again: a name that begins with
an underscore is accepted only where the whole function equals the one here. They are written in
the jnp that the translator reads. Imports nothing of ours.
"""

import ast
import functools

HELPERS: dict[str, str] = {}


def _helper(text: str) -> None:
    """Keep one helper under its name."""
    name = text[text.index("def ") + 4 : text.index("(")]
    HELPERS[name] = text.strip("\n")


_helper('''
def _only_where(mask, x):
    """x; where the mask is False, no gradient flows into it (not even NaN)."""
    return jnp.where(mask, x, jax.lax.stop_gradient(x))
''')
_helper('''
def _with_value(x, value):
    """The value, with the gradient of x."""
    return value + (x - jax.lax.stop_gradient(x))
''')
_helper('''
def _fmax(x, y):
    """The larger of x and y, or the one that is not NaN; the gradient of ties is that of x."""
    return jnp.where((x >= y) | jnp.isnan(y), x, y)
''')
_helper('''
def _fmin(x, y):
    """The smaller of x and y, or the one that is not NaN; the gradient of ties is that of x."""
    return jnp.where((x <= y) | jnp.isnan(y), x, y)
''')
_helper('''
def _abs(x):
    """|x| with gradient 0 at 0."""
    return x * jax.lax.stop_gradient(jnp.sign(x))
''')
_helper('''
def _at_least(x, low):
    """The larger of x and low; at the bound the gradient is that of x."""
    return jnp.where(x < low, low, x)
''')
_helper('''
def _at_most(x, high):
    """The smaller of x and high; at the bound the gradient is that of x."""
    return jnp.where(x > high, high, x)
''')
_helper('''
def _safe_sqrt(x):
    """The square root of a sum of squares, with gradient 0 at 0."""
    positive = x > 0.0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1.0)), 0.0 * x)
''')
_helper('''
def _std(x, axis=None, ddof=1, keepdims=False):
    """The standard deviation; of equal values it is exactly 0, with gradient 0."""
    apart = x - jax.lax.stop_gradient(jnp.min(x, axis=axis, keepdims=True))
    return _safe_sqrt(jnp.var(apart, axis=axis, ddof=ddof, keepdims=keepdims))
''')
_helper('''
def _pick(x, index, axis):
    """The entry of x at `index` along `axis`, for an index without that axis."""
    return jnp.take_along_axis(x, jnp.expand_dims(index, axis), axis=axis).squeeze(axis=axis)
''')
_helper('''
def _angle(y, x):
    """atan2(y, x) with gradient 0 at the origin."""
    origin = (x == 0.0) & (y == 0.0)
    return jnp.where(origin, jnp.arctan2(0.0 * y, 1.0), jnp.arctan2(y, jnp.where(origin, 1.0, x)))
''')
_helper('''
def _relu6(x):
    """x between 0 and 6; at the bounds the gradient is 0."""
    return jnp.where((x > 0.0) & (x < 6.0), x, jax.lax.stop_gradient(jnp.clip(x, 0.0, 6.0)))
''')
_helper('''
def _hardsigmoid(x):
    """x / 6 + 1 / 2 between 0 and 1; at the bounds the gradient is 0."""
    inside = (x > -3.0) & (x < 3.0)
    return jnp.where(inside, x / 6.0 + 0.5, jax.lax.stop_gradient(jnp.clip(x, 0.0, 1.0)))
''')
_helper('''
def _hardtanh(x, low, high):
    """x between two bounds; at the bounds the gradient is 0."""
    return jnp.where((x > low) & (x < high), x, jax.lax.stop_gradient(jnp.clip(x, low, high)))
''')
_helper('''
def _leaky_relu(x, slope):
    """x above 0, slope times x elsewhere, also at 0."""
    return jnp.where(x > 0.0, x, slope * x)
''')
_helper('''
def _safe_root(x, p):
    """The pth root of a sum of powers, with gradient 0 at 0."""
    positive = x > 0.0
    return jnp.where(positive, jnp.where(positive, x, 1.0) ** (1.0 / p), 0.0 * x)
''')
_helper('''
def _cosine(x, y, axis, eps):
    """Cosine similarity along an axis; a vector of zeros counts as of length eps."""
    x_length = _safe_sqrt(jnp.sum(x * x, axis=axis, keepdims=True))
    y_length = _safe_sqrt(jnp.sum(y * y, axis=axis, keepdims=True))
    return jnp.sum(x / jnp.maximum(x_length, eps) * (y / jnp.maximum(y_length, eps)), axis=axis)
''')
_helper('''
def _huber(x, delta):
    """Half the square of x up to delta, linear beyond."""
    size = _abs(x)
    return jnp.where(size < delta, 0.5 * x * x, delta * (size - 0.5 * delta))
''')
_helper('''
def _log_or_less(x):
    """log x, at least -100; of 0 its gradient is 0."""
    positive = x > 0.0
    return jnp.where(positive, jnp.maximum(jnp.log(jnp.where(positive, x, 1.0)), -100.0), -100.0)
''')
_helper('''
def _cross_entropy_of_two(x, y):
    """-(y log x + (1 - y) log(1 - x))."""
    return -(y * _log_or_less(x) + (1.0 - y) * _log_or_less(1.0 - x))
''')
_helper('''
def _from_lower(x):
    """The symmetric matrix of which x holds the lower triangle."""
    return jnp.tril(x) + jnp.tril(x, -1).mT
''')
_helper('''
def _corrcoef(x):
    """Correlations of the rows of x over its columns."""
    covariance = jnp.cov(x)
    size = jnp.sqrt(jnp.diagonal(covariance))
    return jnp.clip(covariance / size[:, None] / size[None, :], -1.0, 1.0)
''')


@functools.cache
def _tree(name: str) -> str:
    return ast.dump(ast.parse(HELPERS[name]).body[0])


def is_helper(node: ast.FunctionDef) -> bool:
    """Whether a definition is one of ours, word for word."""
    return node.name in HELPERS and ast.dump(node) == _tree(node.name)


def with_dependencies(names: set[str]) -> list[str]:
    """Helpers and those that they call, in the order in which they are written."""
    needed, pending = set(names), list(names)
    while pending:
        text = HELPERS[pending.pop()]
        inner = {name for name in HELPERS if f"{name}(" in text.split(":", 1)[1]} - needed
        needed |= inner
        pending += inner
    return [name for name in HELPERS if name in needed]
