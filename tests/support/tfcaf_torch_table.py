# ruff: noqa: E501
"""torch's operations as expressions, and what torch gives for them, with and without torch.

Each expression is of B = 4 rows: x [B, 3, 4], y [B, 3, 4], v [B, 4], q [B, 3], b bool [B, 3, 4],
i int [B, 3, 4]. x, y and v depend on q, so that gradients flow. The rows are random numbers,
numbers with many ties, zeros, and large numbers of both signs.

`python tests/support/tfcaf_torch_table.py` writes torch's values and gradients to the golden file.
"""

import json
import pathlib

import numpy as np

GOLDEN = pathlib.Path(__file__).parents[1] / "tfcaf" / "golden" / "torch_ops.json"
NUM_AGENTS, STATE_DIM = 3, 12
_RNG = np.random.default_rng(7)
AGENT_QS = np.float32(
    [_RNG.normal(size=3).round(3), [1.0, -1.0, 1.0], [0.0, 0.0, 0.0], [8.0, -3.0, 2.0]]
)
STATES = np.float32(
    [
        _RNG.normal(size=12).round(3),
        _RNG.integers(-2, 3, 12) * 0.5,
        np.zeros(12),
        _RNG.normal(size=12).round(2) * 30,
    ]
)

TABLE = """
torch.exp(x * 0.1) | x.exp() * 0.01 | torch.expm1(v * 0.1) | torch.log(x * x + 1) | torch.log1p(x.abs()) | torch.log2(v * v + 1) | (v * v + 1).log10()
torch.sqrt(x * x + 0.1) | torch.rsqrt(v * v + 1) | torch.square(x) | x.pow(2) | x ** 2 | x ** 3 | (x * x + 1) ** 0.5 | (x * x + 1).pow(1.5) | x ** 0.0 | x ** 0 | 2 ** (x * 0.1)
torch.pow(v * v + 1, v * 0.1) | torch.reciprocal(v * v + 1) | torch.sin(x) | x.cos() | torch.tan(v * 0.1) | torch.asin(v.tanh() * 0.9) | torch.acos(v.tanh() * 0.9) | torch.atan(x)
torch.sinh(v * 0.1) | torch.cosh(v * 0.1) | torch.tanh(x) | x.tanh() | torch.asinh(x) | torch.acosh(v * v + 1.5) | torch.atanh(v.tanh() * 0.5) | torch.atan2(x, y) | torch.atan2(v, v * 0 + 1)
torch.abs(x) | x.abs() | abs(x) | torch.absolute(v) | torch.sign(x) | x.sgn() | torch.floor(x) | x.ceil() | torch.round(x) | x.trunc() | torch.frac(x) | -x | x.neg() | +x | torch.sigmoid(x)
torch.erf(x) | torch.erfc(v) | torch.isnan(x) | torch.isinf(x) | torch.isfinite(x) | torch.logical_not(b) | ~b | torch.nan_to_num(x / 0.0, nan=1.0, posinf=2.0, neginf=3.0) * 0 + x
x + y | x - y | x * y | x / (y * y + 1) | x.detach() // 0.75 | x % 0.75 | torch.add(x, y, alpha=2) | torch.sub(x, 1.0) | torch.mul(x, 2) | x.mul(y) | torch.div(x, 2) | torch.div(x, 2.0, rounding_mode='floor')
torch.div(x, 0.75, rounding_mode='trunc') | torch.floor_divide(x.detach(), 2) | torch.remainder(x, 0.75) | torch.fmod(x, 0.75) | i // 2 | i % 2 | i / 2 | i * 2 + 1 | i ** 2 | (i > 1) & b | torch.bitwise_or(b, x > 0) | b ^ (x > 0) | b + (x > 0) | b * 2
x > y | x >= 0 | x < 0.5 | x <= y | x == y | x != 0 | torch.eq(i, 1) | torch.ne(i, 1) | x.gt(0) | x.ge(y) | x.lt(0) | x.le(0) | torch.isclose(x, x + 1e-9) | torch.logical_and(b, x > 0) | b.logical_or(x > 0) | torch.logical_xor(b, x > 0)
torch.maximum(x, y) | torch.minimum(x, y) | torch.max(x, y) | torch.min(x, y) | torch.fmax(x, y) | torch.clamp(x, -0.5, 0.5) | x.clamp(min=0) | x.clamp(max=0.5) | torch.clip(x, 0.0, 1.0) | x.clamp_min(0.0) | torch.clamp(x, min=y) | torch.clamp(x, 1.0, -1.0)
torch.where(b, x, y) | torch.where(x > 0, x, 0.0) | torch.where(b, 1.0, 0.0) * x | x.where(b, y) | torch.where(x > 0, x, torch.zeros_like(x)) | x.masked_fill(b, 2.0) | x.masked_fill(~b, float('-inf')).softmax(-1) | torch.lerp(x, y, 0.3) | torch.addcmul(x, y, y, value=0.5)
torch.hypot(x + 3, y + 5) | torch.logaddexp(x, y) | torch.copysign(v + 1, v) | torch.xlogy(v * v, v * v + 1) | torch.heaviside(x.detach(), torch.zeros(1)) * x
torch.relu(x) | F.relu(x) | x.relu() | F.leaky_relu(x) | F.leaky_relu(x, 0.2) | F.elu(x) | F.elu(x, alpha=0.5) | F.selu(x) | F.celu(x) | F.gelu(x) | F.gelu(x, approximate='tanh') | F.silu(x) | F.mish(x)
F.softplus(x) | F.softplus(x, beta=2) | F.softplus(x, 1.0, 3.0) | F.softsign(x) | F.hardtanh(x) | F.hardtanh(x, -0.5, 0.5) | F.relu6(x) | F.hardsigmoid(x) | F.hardswish(x) | F.logsigmoid(x) | F.tanhshrink(v) | F.threshold(x, 0.1, 5.0) | F.glu(x)
torch.softmax(x, dim=-1) | F.softmax(x, dim=1) | x.softmax(2) | F.log_softmax(x, dim=-1) | x.log_softmax(1) | F.softmin(x, dim=-1) | torch.logsumexp(x, dim=-1) | torch.logsumexp(x, 1, True) | x.logsumexp((1, 2))
x.sum(-1) | torch.sum(x, dim=1) | x.sum(dim=(1, 2)) | x.sum(-1, True) | x.sum(dim=1, keepdim=True) | b.sum(-1) | i.sum(dim=1) | x.mean(1) | torch.mean(x, dim=-1, keepdim=True) | b.float().mean(-1) | v.prod(-1) | torch.prod(x * 0.1, 2) | x.nansum(-1)
x.max(dim=-1)[0] | x.max(-1).values | x.max(1)[1] | torch.max(x, dim=2).indices | x.min(dim=1)[0] | torch.min(x, 2, keepdim=True)[0] | torch.min(x, -1, True).indices | x.amax(-1) | x.amin(dim=(1, 2)) | torch.aminmax(x, dim=-1)[0] | x.aminmax(dim=1, keepdim=True).max | torch.amax(x, 1, keepdim=True) | x.argmax(-1) | torch.argmin(x, dim=1) | x.argmax(1, keepdim=True)
b.any(-1) | torch.all(b, dim=1) | (x > 1).any(dim=-1, keepdim=True) | x.std(-1) | torch.std(x, dim=1, unbiased=False) | x.std(dim=-1, correction=0, keepdim=True) | x.var(1) | torch.var(x, 2, False) | torch.var_mean(x, 1)[0] | x.std((1, 2)) | torch.std_mean(x, dim=-1)[1]
x.median(-1)[0] | torch.median(x, dim=1).values | torch.median(v, -1)[1] | x.norm(dim=-1) | torch.norm(x, dim=1, keepdim=True) | x.norm(p=1, dim=-1) | torch.norm(x, 2, -1) | torch.norm(v, p=float('inf'), dim=-1) | torch.linalg.norm(x, dim=-1) | torch.linalg.vector_norm(x, ord=1, dim=(1, 2)) | torch.norm(x - y, dim=-1) | torch.norm(x * 0, dim=-1) | x.norm(p=3, dim=-1)
x.cumsum(-1) | torch.cumsum(x, dim=1) | (x * 0.1).cumprod(2) | torch.cummax(x, -1)[0] | torch.cummin(x, dim=1)[1] | torch.cummax(v, -1).indices | torch.diff(x, dim=-1) | torch.quantile(x, 0.3, dim=-1) | torch.count_nonzero(x, dim=-1) | torch.logcumsumexp(x, -1)
x.view(-1, 12) | x.view(x.size(0), 12) | x.reshape(x.shape[0], 6, 2) | x.flatten(1) | torch.flatten(x, 1, 2) | x.unflatten(2, (2, 2)) | x.unsqueeze(1).squeeze(1) | x.unsqueeze(-1) | torch.unsqueeze(x, 2) | v.unsqueeze(1).squeeze(2) | v[:, None].squeeze() | x.permute(0, 2, 1) | x.transpose(1, 2) | torch.transpose(x, -1, -2) | x.mT | x.swapaxes(1, 2)
v.unsqueeze(1).expand(-1, 3, -1) | v[:, None].expand(v.size(0), 3, 4) | v.unsqueeze(1).expand_as(x) + x | v.repeat(1, 2) | x.repeat(1, 2, 1) | torch.tile(v, (1, 2)) | v.repeat_interleave(2, dim=1) | torch.repeat_interleave(x, 2, dim=-1) | v.unsqueeze(1).broadcast_to(x.shape)
torch.cat([x, y], dim=1) | torch.cat((x, y), -1) | torch.concat([v, q], dim=1) | torch.stack([x, y], dim=1) | torch.stack([v, v * 2], -1) | torch.hstack([v, q]) | x.split(2, dim=-1)[1] | torch.split(x, [1, 3], dim=-1)[1] | x.chunk(2, dim=2)[0] | torch.chunk(x, 2, 1)[1] | x.unbind(1)[2] | torch.unbind(x, dim=-1)[0] | x.narrow(2, 1, 2) | x.select(1, 2) | torch.tensor_split(v, 3, dim=1)[1]
torch.index_select(x, 2, torch.tensor([2, 0])) | x.gather(2, i) | torch.gather(x, 1, i[:, :1]) | x.gather(-1, i[..., :1]).squeeze(-1) | torch.take_along_dim(x, i, dim=2) | torch.zeros_like(x).scatter(2, i[:, :, :1], 1.0) * x | x.scatter_add(2, i, y) | x.scatter_reduce(2, i, y, 'mean', include_self=True) | x.scatter_reduce(2, i, y, 'mean', include_self=False) | x.scatter_reduce(2, i, y, 'sum', include_self=True) | x.scatter_reduce(2, i, y, 'sum', include_self=False) | x.scatter_reduce(2, i, y, 'amax', include_self=True) | x.scatter_reduce(2, i, y, 'amax', include_self=False) | x.scatter_reduce(2, i, y, 'amin', include_self=True) | x.scatter_reduce(2, i, y, 'amin', include_self=False) | torch.trapezoid(x, torch.linspace(0, 1, 4) ** 2, dim=2) | torch.trapezoid(x, x.cumsum(2)) | x.scatter(2, i[:, :, :1], y[:, :, :1]) | torch.roll(x, 1, dims=-1) | torch.flip(x, dims=[1]) | x.flip(-1) | torch.tril(x) | x.triu(1) | torch.diagonal(x[:, :, :3], dim1=1, dim2=2) | torch.diag_embed(v)
torch.sort(x, dim=-1)[0] | x.sort(dim=1, descending=True).values | torch.sort(v, descending=True, stable=True)[1] | torch.argsort(x, dim=-1, stable=True) | v.argsort(dim=-1, descending=True, stable=True) | x.topk(2, dim=-1)[0] | torch.topk(x, 2, largest=False).values | x.kthvalue(2, dim=-1)[0]
F.one_hot(i, 4).float() * x[..., None] | F.one_hot(i[:, :, 0], num_classes=3) | torch.einsum('bij,bj->bi', x, v) | torch.einsum('bij,bkj->bik', x, y) | torch.bmm(x, y.transpose(1, 2)) | torch.matmul(x, v.unsqueeze(-1)) | x @ y.transpose(-1, -2) | torch.bmm(q.unsqueeze(1), x).squeeze(1) | x @ torch.eye(4) | torch.linalg.vecdot(x, y) | torch.cross(x[..., :3], y[..., 1:], dim=-1)
torch.cdist(x, y) | torch.cdist(x, x) | torch.cdist(x, y, p=1) | F.pairwise_distance(v, v * 2 + 1) | F.normalize(x, dim=-1) | F.normalize(x, p=1, dim=1) | F.normalize(v) | F.cosine_similarity(x, y, dim=-1) | F.cosine_similarity(v, v + 1) | F.mse_loss(x, y, reduction='none') | F.l1_loss(x, y, reduction='none') | F.smooth_l1_loss(x, y, reduction='none') | F.huber_loss(x, y, reduction='none', delta=0.5)
torch.finfo(torch.float32).eps * x | torch.finfo(x.dtype).max * 0 + x | torch.iinfo(torch.int32).max * 1e-9 * x | x.float() | x.long() | x.int() * 2 | b.float() * x | b.long() | x.bool() | x.to(torch.float32) | i.to(x.dtype) * x | x.double().float() | i.type_as(x) + x | x.detach() * x | x.clone() * 2 | x.contiguous() | (x > 0).float() * x | x.to('cpu')
torch.zeros(x.size(0), 3) + q | torch.ones_like(x) * x | torch.full((3,), 0.5) * q | torch.full_like(x, 2.0) + x | x.new_zeros(3) + q | x.new_ones((x.size(0), 3)) * q | torch.eye(3) @ x | torch.arange(3) * q | torch.arange(0, 1, 0.25) * v | torch.arange(3, dtype=torch.float32) + q | torch.linspace(0, 1, 4) * v | torch.tensor([1.0, 2.0, 3.0]) * q | torch.tensor(2.0) * x | torch.tensor([[1, 2, 3]]) * q | torch.meshgrid(torch.arange(3), torch.arange(4), indexing='ij')[0] * x
x[:, 0] | x[:, -1, 1:3] | x[..., 0] | x[:, ::2] | x[:, None, :, 0] | x[:, :, [0, 2]] | x[:, torch.tensor([0, 2])] | x[:, [0, 1], [1, 2]] | x[torch.arange(x.size(0)), i[:, 0, 0]] | x[torch.arange(len(x))[:, None], i[:, :, 0]] | x[torch.arange(x.size(0)), 0, i[:, 0, 1]] | x[:, 1:].sum(1) | x.size(1) * q | x.shape[-1] * q | x.dim() * q | x.numel() / x.size(0) * q | x.ndim * v
F.pad(x, (1, 1)) | F.pad(x, (0, 1, 2, 0), value=3.0) | F.pad(x, (1, 1), mode='replicate') | torch.bucketize(x, torch.tensor([-0.5, 0.0, 0.5])) | torch.searchsorted(torch.tensor([-1.0, 0.0, 1.0]), x, right=True) | torch.outer(torch.arange(3.0), torch.ones(4)) * x | torch.dot(torch.ones(3), torch.arange(3.0)) * q | sum([x[:, j] for j in range(3)]) | torch.stack([x[:, j].max(-1)[0] for j in range(3)], dim=1) | torch.pi * x | math.pi * x | math.sqrt(2.0) * x | x.masked_fill(x == 0, 1.0) | torch.std(x * 0, dim=-1) | torch.norm(x[:, :, None] - x[:, None], dim=-1) | torch.triu(torch.ones(3, 3), diagonal=1) @ x | torch.trace(torch.eye(3)) * q
torch.special.logsumexp(x, dim=-1) | torch.special.log_softmax(x, dim=-1) | torch.special.xlogy(v * v, v * v + 1) | torch.special.expm1(v * 0.1) | torch.special.log1p(x.abs()) | torch.special.exp2(v * 0.1) | torch.trapezoid(x, dim=-1) | torch.trapz(x, dx=0.5, dim=1)
F.linear(x, torch.arange(8.0).view(2, 4)) | F.linear(v, torch.arange(12.0).view(3, 4) * 0.1, torch.ones(3)) | F.linear(v, torch.arange(4.0)) | F.scaled_dot_product_attention(x * 0.1, y * 0.1, x) | F.scaled_dot_product_attention(x * 0.1, y * 0.1, v[:, None].expand(-1, 3, -1), scale=0.3) | x[:, :, :3].det() * 1e-3 | (x[:, :, :3] * 0.01 + torch.eye(3)).inverse() | (x @ y.mT).baddbmm(x, y.mT) | torch.ones(4).vdot(torch.arange(4.0)) * v
torch.diag_embed(i[:, 0]) | torch.diag_embed(b[:, 0]) | F.kl_div(x.log_softmax(-1), y.softmax(-1), reduction='none') | F.kl_div(x.log_softmax(-1), y.log_softmax(-1), reduction='none', log_target=True) | F.binary_cross_entropy(x.sigmoid() * 0.9 + 0.05, b.float(), reduction='none') | F.binary_cross_entropy_with_logits(x, b.float(), reduction='none') | F.binary_cross_entropy_with_logits(x, y.sigmoid(), reduction='none') | F.cross_entropy(x, i[:, 0], reduction='none') | F.cross_entropy(v, i[:, 0, 0], reduction='none') | F.cross_entropy(x, y.softmax(1), reduction='none') | F.nll_loss(x.log_softmax(1), i[:, 0], reduction='none') | F.smooth_l1_loss(x, y, reduction='none', beta=0.5)
F.huber_loss(x, y, 'none', 0.5) | F.softshrink(x) | F.softshrink(x, 0.2) | F.hardshrink(x) | F.hardshrink(x, lambd=1.0) | F.prelu(x, torch.tensor([0.25])) | F.prelu(x, torch.tensor([0.25, 0.5, 0.0])) | torch.special.entr(x.softmax(-1)) | torch.special.ndtr(x) | torch.special.xlog1py(x.abs(), x.abs()) | torch.special.gammaln(x.abs() + 1) | torch.isin(i, torch.tensor([0, 2]))
torch.isin(i, 1) | torch.isin(i, torch.tensor([0, 2]), invert=True) | torch.isin(x, torch.tensor([0.0, 1.0])) | torch.isin(torch.arange(3), torch.tensor([0, 2])) * q | torch.gradient(x, dim=1)[0] | torch.gradient(x, dim=(1, 2))[1] | torch.gradient(x, spacing=0.5, dim=2)[0] | torch.gradient(x, dim=-1)[0] | torch.block_diag(torch.eye(2), torch.ones(1, 1)) @ x | torch.block_diag(torch.eye(2), torch.ones(1)) @ x | torch.block_diag(torch.eye(2), torch.ones(1, 1, dtype=torch.long)) @ x | torch.unravel_index(i, (2, 2))[0]
torch.unravel_index(i.sum(-1), (3, 3))[1] | torch.combinations(torch.arange(3)).sum(1) * q | torch.combinations(torch.arange(3), r=2, with_replacement=True).sum() * q | q[:, torch.combinations(torch.arange(3), 2)[:, 0]] | torch.combinations(torch.tensor([1.0, 2.0, 5.0]))[:, 1] * q | torch.cartesian_prod(torch.arange(3), torch.arange(2)).sum(1)[:3] * q | torch.cartesian_prod(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 3.0])) @ v.view(-1, 2, 2) | torch.linalg.matrix_norm(x) | torch.linalg.matrix_norm(x, keepdim=True) | torch.linalg.multi_dot([torch.eye(3), torch.ones(3, 3)]) @ x | torch.chain_matmul(torch.eye(3), torch.ones(3, 3)) @ x | torch.linalg.slogdet(x[:, :, :3] * 0.1 + torch.eye(3))[1]
torch.linalg.slogdet(x[:, :, :3] * 0.1 + torch.eye(3)).sign | torch.baddbmm(x[:, :, :3], x, y.mT, beta=0.5, alpha=2) | torch.inner(x, torch.ones(4)) | torch.inner(torch.ones(4), x) | torch.inner(x, torch.ones(2, 4)) | torch.inner(torch.ones(3), torch.ones(3)) * q | F.avg_pool1d(x, 2) | F.avg_pool1d(x, 3, 1, 1) | F.avg_pool2d(x.unsqueeze(1), 2) | F.avg_pool2d(x.unsqueeze(1), kernel_size=3, stride=1, padding=1) | F.avg_pool2d(x.unsqueeze(1), (3, 2), stride=(1, 2)) | F.max_pool1d(x, 2, stride=1)
F.max_pool1d(x, 3, 1, padding=1) | F.max_pool2d(x.unsqueeze(1), 2, stride=1) | F.max_pool2d(x, 2, 1) | F.adaptive_avg_pool1d(x, 1) | F.adaptive_avg_pool1d(x, 2) | F.adaptive_avg_pool2d(x.unsqueeze(1), (1, 1)) | F.adaptive_avg_pool2d(x.unsqueeze(1), (3, 2)) | F.adaptive_max_pool1d(x, 2) | F.conv1d(x, torch.arange(6.0).view(1, 3, 2)) | F.conv1d(x, torch.arange(9.0).view(1, 3, 3), padding=1) | F.conv1d(x, torch.arange(9.0).view(1, 3, 3), padding='same', bias=torch.ones(1)) | F.conv1d(v.unsqueeze(1), torch.tensor([[[0.25, 0.5, 0.25]]]), padding=1, stride=2)
F.conv1d(v.unsqueeze(1), torch.tensor([[[1.0, -1.0]], [[0.5, 0.5]]]), torch.tensor([1.0, 2.0])) | F.conv2d(x.unsqueeze(1), torch.arange(9.0).view(1, 1, 3, 3), padding=1) | F.conv2d(x.unsqueeze(1), torch.arange(4.0).view(1, 1, 2, 2), stride=(1, 2)) | torch.quantile(x, torch.tensor([0.25, 0.5]), dim=1)[1] | torch.quantile(x, torch.tensor([0.1, 0.9]), dim=-1, keepdim=True)[0] | torch.where(torch.ones(3, 3).triu(1) > 0)[0] * q
x.index_fill(2, torch.tensor([0, 2]), 1.0) | x.index_add(2, torch.tensor([0, 2]), y[..., :2]) | F.layer_norm(x, (4,)) * x | torch.atleast_2d(x) | x.movedim(1, 2) | torch.softmax(torch.stack([v, v * 2], dim=1), dim=1) | x.rot90(1, [1, 2]) | torch.broadcast_tensors(v[:, None], x)[0] | x.square().sum((-1, -2)) | (x == x.max(dim=-1, keepdim=True)[0]).float() * x
"""


def expressions() -> list[str]:
    """All expressions of the table."""
    return [e.strip() for row in TABLE.strip().split("\n") for e in row.split(" | ") if e.strip()]


def source(expression: str, size: int) -> str:
    """A batched function that sums an expression's numbers, each with its own weight."""
    return f"""import math

import torch
import torch.nn.functional as F


def f(agent_qs, state):
    q = agent_qs
    grid = state.view(state.shape[0], 3, 4)
    x = grid + 0.5 * q.unsqueeze(-1)
    y = grid.flip(2) * (1.0 + 0.25 * q.unsqueeze(-1))
    v = x[:, 0] + y[:, 2]
    b = grid > 0.25
    i = grid.abs().long() % 3
    r = {expression}
    flat = r.reshape(state.shape[0], -1).float()
    weights = torch.linspace(1.0, 2.0, {size})
    return (flat * weights).sum(-1) + 0.0 * q.sum(-1)
"""


def numbers_of(expression: str) -> int:
    """How many numbers an expression gives for each row, by asking torch."""
    import torch

    text = source(expression, 1).replace(
        "    flat =", "    return r.reshape(state.shape[0], -1).shape[1]\n    flat ="
    )
    scope: dict = {}
    exec(text, scope)
    return scope["f"](torch.tensor(AGENT_QS), torch.tensor(STATES))


def by_torch(expression: str) -> dict:
    """What torch gives: the size, and for each row the value and its gradient."""
    import torch

    size = numbers_of(expression)
    scope: dict = {}
    exec(source(expression, size), scope)
    agent_qs = torch.tensor(AGENT_QS, requires_grad=True)
    value = scope["f"](agent_qs, torch.tensor(STATES))
    value.sum().backward()
    assert agent_qs.grad is not None
    return {"size": size, "value": value.tolist(), "credit": agent_qs.grad.tolist()}


def golden() -> dict:
    """torch's answers as they were written down."""
    return json.loads(GOLDEN.read_text())


def main() -> None:
    """Write the golden file."""
    answers = {expression: by_torch(expression) for expression in expressions()}
    rows = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in answers.items()]
    GOLDEN.write_text("{\n" + ",\n".join(rows) + "\n}\n")


if __name__ == "__main__":
    main()
