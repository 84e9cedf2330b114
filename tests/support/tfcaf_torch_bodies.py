# ruff: noqa: E501
"""Bodies of torch functions, one for each kind of statement and each way to share memory.

`q` is agent_qs [B, 3], `s` is state [B, 12]; each body leaves its result in `w` [B, 3].
"""

BODIES = {
    # -- assignments ----------------------------------------------------------------------------
    "chained": "a = w = q * 2\nw = a + w",
    "tuple": "a, (b, c) = q * 2, (s[:, :3], 3.0)\nw = a * b + c",
    "swap": "a, b = q, s[:, :3]\na, b = b, a\nw = a * 2 + b",
    "swap-in-list": "p = [q, s[:, :3]]\np[0], p[1] = p[1], p[0]\nw = p[0] * 2 + p[1]",
    "starred-target": "a, *rest = s[:, :3].unbind(1)\nw = q * a.unsqueeze(1) + sum(rest).unsqueeze(1)",
    "starred-middle": "a, *mid, b = [q, s[:, :3], 2.0, q * s[:, 3:6]]\nw = a * mid[0] * mid[-1] + b",
    "starred-nothing": "a, b, *rest = q, s[:, :3]\nw = a * b * (1 + len(rest))",
    "starred-in-loop": "w = q\nfor i, *js in [(0, 1, 2), (1, 2, 0)]:\n    w = w * s[:, i : i + 1] + s[:, js[-1] : js[-1] + 1]",
    "starred-shape": "w = s.view(*s.shape[:1], 3, -1).sum(-1) * q",
    "annotated": "a: torch.Tensor = q * 2\nw: torch.Tensor = a",
    "augmented-number": "k = 1\nk += 2\nk *= 2\nw = q * k",
    "throwaway": "_, i = s[:, :3].max(dim=1)\nw = q * i.unsqueeze(1)",
    "dict": 'd = {"near": q, 2: s[:, :3]}\nd["far"] = d["near"] * d[2]\nw = d["far"] + d["near"]',
    "dict-loop": 'd = {"a": q, "b": s[:, 1:4]}\nw = 0\nfor k, x in d.items():\n    w = w + x',
    "list-append": "p = []\nfor i in range(3):\n    p.append(q[:, i] * s[:, i])\nw = torch.stack(p, 1)",
    "list-of-lists": "g = [[0, 1], [2]]\nw = q.clone()\nfor c in g:\n    w[:, c] *= len(c)",
    "list-sorted": "p = [2, 0, 1]\np.sort()\nr = [(q[:, k], k) for k in p]\nr.sort(key=lambda t: -t[1])\nw = torch.stack([a * s[:, k] for a, k in r], 1)",
    "list-replaced": "p = [q, q * s[:, :1], s[:, :3]]\nu = p\np[:] = [p[2] * 2, p[0]]\nw = u[0] * u[1] + len(u)",
    "list-of-functions-replaced": "f = [torch.tanh, torch.sigmoid]\nf[:] = [f[1], f[0]]\nw = f[0](q) + f[1](s[:, :3])",
    "dict-spread": 'o = {"k": 2.0, "m": q}\nd = {"k": 1.0, **o, "e": s[:, :3]}\ndef f(k, m, e):\n    return m * k + e\nw = f(**d) + f(**{**d, "k": 0.5})',
    "constants": "stride, eps = 4, 1e-8\nw = q / (s[:, ::stride].abs() + eps + 1)",
    # -- masks of constants ---------------------------------------------------------------------
    "where-alone": "i, j = torch.where(~torch.eye(3, dtype=torch.bool))\nw = q * (s[:, i] - s[:, j]).abs().view(-1, 3, 2).sum(2)",
    "nonzero": "p = torch.nonzero(torch.ones(3, 3).triu(1))\nd = s[:, p[:, 0]] * q[:, p[:, 1]]\nw = q.clone()\nfor k, (i, j) in enumerate(p.tolist()):\n    w[:, i] += d[:, k] * j",
    "nonzero-tuple": "i, j = torch.eye(3).nonzero(as_tuple=True)\nw = s[:, :9].view(-1, 3, 3)[:, i, j] * q",
    "off-diagonal": "d = (s[:, :3].unsqueeze(1) - s[:, 3:6].unsqueeze(2)).abs()\nm = ~torch.eye(3, dtype=torch.bool)\nw = q * d[:, m].view(-1, 3, 2).amin(2)",
    "upper-pairs": "m = torch.triu(torch.ones(3, 3), diagonal=1).bool()\nw = q * s[:, :9].view(-1, 3, 3)[:, m].sum(1, keepdim=True)",
    "compared-ranges": "i = torch.arange(3)\nm = i.unsqueeze(0) < i.unsqueeze(1)\nw = q * s[:, :9].view(-1, 3, 3)[:, m]",
    "known-mask-changed": "m = torch.ones(3, dtype=torch.bool)\nm[1] = False\nw = q.clone()\nw[:, m] = s[:, :2]",
    "known-mask-in-loop": "w = q * 1\nfor i in range(3):\n    m = torch.arange(3) != i\n    w = w + q[:, m].sum(1, keepdim=True) * s[:, i : i + 1]",
    "known-mask-flipped": "m = torch.tensor([True, False, True])\nw = q * 0\nfor i in range(2):\n    w = w + q[:, m].sum(1, keepdim=True) * (i + 1)\n    m = ~m",
    "known-mask-given": "def pick(x, m):\n    return x[:, m].sum(1, keepdim=True)\nw = q * pick(s, torch.arange(12) > 3) + pick(s, torch.arange(12) > 7)",
    "known-mask-scaled": "m = torch.tensor([True, False, True])\nw = q.clone()\nw[:, m] *= 2.0\nw[:, ~m] += s[:, :1]",
    "known-mask-rounded": "m = torch.arange(4) * 0.1 > 0.3\nw = q + s[:, :4][:, ~m].sum(1, keepdim=True)",
    "known-mask-square": "m = torch.eye(3).bool()\nd = s[:, :9].view(-1, 3, 3).clone()\nd[:, m] = 9.0\nw = q * d.amin(2)",
    # -- memory shared with a detached array ----------------------------------------------------
    "detached-changed": "w = q * 1\nu = w.detach()\nu[:, 0] = 5.0\nw = w * 2",
    "detached-follows": "w = q * 1\nu = w.detach()\nw[:, 0] = 2.0\nw = w * u",
    "detached-copied": "w = q * 1\nu = w.detach().clone()\nu[:, 0] = 5.0\nw = w * u",
    "data-changed": "w = q * 1\nw.data.clamp_(min=0.0)\nw = w * 3",
    # -- static control flow --------------------------------------------------------------------
    "if-static": "if q.shape[1] == 3:\n    w = q * 2\nelse:\n    w = q * 3",
    "if-dim": "if q.dim() == 1:\n    q = q.unsqueeze(0)\nw = q",
    "if-none": "mask = None\nw = q if mask is None else q * mask",
    "elif": "n = 3\nif n > 5:\n    w = q\nelif n > 2:\n    w = -q\nelse:\n    w = q * 0",
    "continue": "w = q.clone()\nfor i in range(3):\n    if i == 1:\n        continue\n    w[:, i] *= 2",
    "break": "w = q * 0\nfor i in range(9):\n    if i > 2:\n        break\n    w = w + q * i",
    "pairs": (
        "w = torch.zeros_like(q)\nfor i in range(3):\n    for j in range(3):\n"
        "        if i != j:\n            w[:, i] += q[:, j] * s[:, 4 * i + j]"
    ),
    "triangle": (
        "w = q * 0\nfor i in range(3):\n    for j in range(i + 1, 3):\n"
        "        w = w + (s[:, i] * s[:, j]).unsqueeze(1) * q"
    ),
    "zip": "w = 0\nfor a, b in zip(q.unbind(1), [1.0, 2.0, 3.0]):\n    w = w + a.unsqueeze(1) * b * q",
    "enumerate": "w = q * 1\nfor i, x in enumerate(s.split(4, dim=1)):\n    w[:, i] = x.mean(1) * q[:, i]",
    "reversed": "w = q * 0\nfor i in reversed(range(3)):\n    w = w * 0.5 + q[:, i : i + 1]",
    "comprehension": "w = torch.stack([q[:, i] * s[:, 2 * i] for i in range(3) if i != 5], dim=1)",
    "nested-comprehension": "w = torch.stack([sum(q[:, j] * s[:, i + j] for j in range(3)) for i in range(3)], 1)",
    "dict-comprehension": "d = {i: q[:, i] * i for i in range(3)}\nw = torch.stack([d[i] for i in (2, 1, 0)], 1)",
    "builtins": "k = max(len([1, 2]), abs(-3)) + min(2, 5) + sum([1, 2]) + round(2.6) + int(3.9)\nw = q * k",
    "math": "import math\nw = q * math.exp(-1.0) + math.pi * math.floor(2.5)",
    "assert": 'assert q.dim() == 2, f"bad shape {q.shape}"\nassert q.shape[1] == 3\nw = q',
    "raise-dead": 'if s.shape[1] != 12:\n    raise ValueError("bad")\nw = q',
    "no-grad": "with torch.no_grad():\n    a = q * 3\nw = q * a",
    "no-grad-names": "a = q * 2\nwith torch.no_grad():\n    b, c = a, a * 1\n    d = a.float()\n    e = a.clone()\nw = q * c + b * d + e",
    "no-grad-vmap": (
        "@torch.no_grad()\ndef score(x):\n    return x * x\nw = q * torch.vmap(score)(q)"
    ),
    "inplace-activation": "w = q * 1\ntorch.nn.functional.relu(w, inplace=True)\nw = w + q",
    "inplace-module": "act = torch.nn.LeakyReLU(0.2, inplace=True)\nw = q - s[:, :3]\na = act(w)\nw = w + a * q",
    "inplace-of-a-view": "w = q * 1\ntorch.nn.functional.elu(w[:, :2], inplace=True)",
    "round-digits": "w = torch.stack([q[:, 0], q[:, 1], q[:, 2] * round(2.678, 2)], 1)",
    "detach": "w = q * q.detach() + (q - q.mean(1, keepdim=True)).detach()",
    # -- functions ------------------------------------------------------------------------------
    "helper": "def double(x, k=2.0):\n    return x * k\nw = double(q) + double(s[:, :3], k=3.0)",
    "helper-branches": (
        "def pick(x, kind):\n    if kind == 0:\n        return x * 2\n    return x + 1\n"
        "w = pick(q, 0) + pick(q, 1)"
    ),
    "helper-ranks": "def total(x):\n    return x.sum(-1)\nw = q * total(s).unsqueeze(1) + total(s.view(-1, 3, 4))",
    "helper-tuple": "def both(x):\n    return x * 2, x + 1\na, b = both(q)\nw = a * b",
    "closure": "scale = s[:, :1]\ndef f(x):\n    return x * scale\nw = f(q) + f(q * 2)",
    "lambda": "f = lambda x, k=2: x * k\nw = f(q) + f(q, 3)",
    "default-by-name": "K = (2.0, 3.0)\ndef f(x, k=K[0] / 2, *, scales=K):\n    for t in scales:\n        x = x * t + k\n    return x\nw = f(q) + f(s[:, :3], 5.0, scales=(1.0,))",
    "lambda-default": "fs = [lambda x, i=i: x[:, i : i + 1] * (i + 1) for i in range(3)]\nw = sum(f(q) for f in fs) * q",
    "lambda-default-held": "u = s[:, :3] * 2\nf = lambda x, u=u: x * u\nu = u * 0\nw = f(q) + u",
    "star-arguments": "def add(x, *rest, k=1.0, **others):\n    for r in rest:\n        x = x + k * r\n    return x * others.get('scale', 2.0)\nw = add(q, s[:, :3], s[:, 3:6], scale=s[:, :1]) + add(q) + add(q, q, k=0.5)",
    "formatted-names": "d = {f'x_{i:02d}': q[:, i] for i in range(3)}\nnote = f'mean {q.mean(1)} of {len(d)}'\nw = torch.stack([d[f'x_{k:02d}'] for k in (2, 0, 1)], 1)",
    "function-list": "fs = [torch.relu, torch.tanh, torch.sigmoid]\nw = q\nfor f in fs:\n    w = w + f(q)",
    # -- conditions on data ---------------------------------------------------------------------
    "where-assign": "w = q.clone()\nw[s[:, :3] > 0] = 0.5",
    "mask-scale": "w = q.clone()\nm = s[:, :3] > 0\nw[m] *= 2.0",
    "mask-rows": "w = q.clone()\nm = s[:, :3] > 0\nw[m] = w[m] / (s[:, 3:6][m] + 1)",
    "mask-rows-safe": "w = q.clone()\nx = s[:, :3]\nm = x > 0\nw[m] = torch.sqrt(q[m].abs() / x[m])",
    "row-mask": "w = q.clone()\nm = s[:, 0] > 0\nw[m] = w[m] - w[m].mean(dim=1, keepdim=True)",
    "row-mask-column": "w = q.clone()\nm = s[:, 0] > 0\nw[m, 1] = 7.0",
    "any": "w = q\nm = s[:, :3] > 0\nif m.any():\n    w = torch.where(m, q * 2, w)",
    "any-else": "m = s[:, :1] > 0\nif m.any():\n    w = q * m\nelse:\n    w = q * 0.0",
    "any-division": "x = (s[:, :3] > 0).float()\nw = q\nif (x.sum(1) > 0).all():\n    w = q * x / x.sum(1, keepdim=True)",
    # -- memory ---------------------------------------------------------------------------------
    "alias": "a = q * 1\nb = a\nb += 1\nw = a",
    "view-column": "w = q * 1\nb = w[:, 0]\nb += 1",
    "view-of-view": "w = q * 1\nb = w[:, 1:][:, 0]\nb *= 3",
    "view-reshape": "a = s * q[:, :1]\nb = a.view(-1, 3, 4)\nb[:, 0] = 1.0\nw = a[:, :3] + b[:, 1, :3]",
    "raise-on-data": "if torch.isnan(s).any():\n    raise ValueError(f'NaN in {s}')\nw = q * s[:, :3]",
    "fill-diagonal": "m = torch.ones(3, 3)\nm.fill_diagonal_(0.5)\nw = q @ m",
    "asserted": "p = torch.softmax(s[:, :3], 1)\nassert torch.allclose(p.sum(1), torch.ones(p.size(0)), atol=1e-4)\nw = q * p",
    "diagonal-filled": "d = (s[:, :9] * q[:, :1]).view(-1, 3, 3)\nd.diagonal(dim1=-2, dim2=-1).fill_(9.0)\nw = q * d.amin(2)",
    "diagonal-changed": "d = (s[:, :9] * 1).view(-1, 3, 3)\nu = torch.diagonal(d, dim1=1, dim2=2)\nu += q\nw = d.sum(2) * u",
    "diagonal-follows": "d = (s[:, :9] * 1).view(-1, 3, 3)\nu = d.diagonal(0, 1, 2)\nd += 1.0\nw = q * u",
    "reshape-that-copies": "a = (s * q[:, :1]).view(-1, 3, 4)\nb = a.transpose(1, 2).reshape(-1, 12)\nb[:, 0] = 7.0\nc = a[:, :, :2].flatten(1)\nc *= 2.0\nw = a.sum(2) + b[:, :3] * c[:, :3]",
    "reshape-that-shares": "a = (s * q[:, :1]).view(-1, 3, 4)\nb = a[:, :, :2].unsqueeze(1).reshape(-1, 1, 3, 2)\nb[:, 0, 1] = 7.0\nc = s[:, :6].clone()[:, 2:].reshape(-1, 2, 2)\nc += 1.0\nw = a.sum(2) + c.sum((1, 2)).unsqueeze(1)",
    "contiguous-copies": "a = (s * q[:, :1]).view(-1, 3, 4)\nb = a.mT.contiguous()\nb[:, 0] = 7.0\nc = a.contiguous()\nc[:, 2] = 1.0\nw = a.sum(2) + b[:, :3].sum(1, keepdim=True)[..., :3].sum(2)",
    "double-copies": "a = q * 1\nb, c = a.double(), a.to(torch.float64)\nb[:, 0] = 5.0\nc += 1.0\nd = torch.tensor(s[:, :3])\nd[:, 1] = 0.0\nw = a + (b * c).float() + d * s[:, :3]",
    "rows-changed": "a = (s * 1).view(-1, 3, 4).transpose(0, 1).contiguous()\nfor row in a:\n    row *= 2.0\nfor i, row in enumerate(a):\n    row[:, 0] = i\nw = a.sum(2).t() * q",
    "broadcast-tensors": "a, b = torch.broadcast_tensors(q, s[:, :1])\nw = a * b",
    "view-transpose": "a = (s * q[:, :1]).view(-1, 3, 4)\nb = a.transpose(1, 2)\nb[:, 0] = 0.0\nw = a.sum(2)",
    "base-then-view": "a = q * 1\nb = a[:, :2]\na[:, 0] = 5.0\nw = q * b.sum(1, keepdim=True)",
    "views-of-one": "a = q * 1\nb, c = a[:, :2], a[:, 1:]\nb += 1\nw = a * c.sum(1, keepdim=True)",
    "unbind": "w = q * 1\nx, y, z = w.unbind(1)\nw = w * y.unsqueeze(1)",
    "clone": "a = q.clone()\nb = a.clone()\nb += 1\nw = a",
    "rebind": "a = q * 1\nb = a\nb = b + 1\nw = a",
    "in-place-chain": "w = (q * 1).add_(1.0).mul_(2.0)",
    "in-place-methods": "w = q.clone()\nw.clamp_(-0.5, 0.5)\nw[:, 1].fill_(3.0)\nw.masked_fill_(w > 2, 9.0)",
    "zero": "w = q.clone()\nw[:, 0].zero_()\nw[:, 1:].copy_(s[:, :2])",
    "slice-augmented": "w = q.clone()\nw[:, 1:] -= s[:, :2]\nw[:, 0] /= 2",
    "duplicates": "w = s[:, :3].clone()\nw[:, [0, 0, 1]] += 1\nw = w * q",
    "index-add": "w = q.clone()\nw.index_add_(1, torch.tensor([0, 0, 1]), q)",
    "list-alias": "a = q * 1\np = [a, s[:, :3]]\na += 1\nw = p[0] + p[1]",
    "slices-in-a-list": "p = [slice(4 * i, 4 * i + 2) for i in range(3)]\nw = torch.stack([s[:, c].sum(1) for c in p], 1) * q / len(p)",
    "item-of-views": "a = s[:, :3] * 1\np = [a[:, k] for k in range(3)]\np[0] += 1.0\nfor k in range(3):\n    p[k] *= k + 1\nw = a * q",
    "item-many-times": "p = [torch.zeros(q.shape[0], 1)] * 3\nfor k in range(3):\n    p[k] += s[:, k : k + 1]\nw = q * p[0] + p[2]",
    "item-of-dict": "a = s[:, :3] * 1\nd = {'a': a, 'b': q}\nd['a'] += 1.0\nw = a * d['b']",
    "expanded": "w = q[:, :1].expand(-1, 3).clone()\nw[:, 0] += 1",
    "gathered": "i = s[:, :3].argmax(dim=1)\nr = torch.arange(q.size(0))\nw = q.clone()\nw[r, i] = 4.0",
    # -- the batch ------------------------------------------------------------------------------
    "sizes": "b, n = q.shape\nw = torch.ones(b, n) * q + torch.zeros((q.size(0), 3))",
    "merged": "b = q.shape[0]\nw = (s.view(b * 3, 4).sum(-1)).view(b, 3) * q",
    "batch-loop": "w = torch.zeros_like(q)\nfor b in range(q.shape[0]):\n    x = s[b, :3]\n    w[b] = q[b] * x.sum()",
    "batch-list": "p = []\nfor b in range(q.size(0)):\n    p.append(q[b] * s[b, 0])\nw = torch.stack(p)",
    "batch-comprehension": "w = torch.stack([q[b] * s[b].max() for b in range(q.shape[0])], dim=0)",
    "batch-zip": "p = []\nfor x, y in zip(q, s):\n    p.append(x * y[:3])\nw = torch.stack(p)",
    "rows": "w = q * s[torch.arange(s.shape[0]), 2].unsqueeze(1)",
    "squeeze": "w = q * s[:, :1].unsqueeze(2).squeeze(2)",
    "squeeze-bare": "w = q * s[:, :1].squeeze().unsqueeze(1)",
}


def source(name: str) -> str:
    """The function around a body."""
    body = BODIES[name].replace("\n", "\n    ")
    return f"""import torch


def mix(q, s):
    {body}
    return (w * torch.tensor([1.0, 2.0, 3.0])).sum(dim=1, keepdim=True)
"""
