# ruff: noqa: E501
"""Random TFCAFs in PyTorch, shape-correct by construction, for comparison with torch itself.

A program is a list of statements over variables of a few kinds (`bn` is [B, N], `bnk` [B, N, K],
`mask` a boolean [B, N], …). Each statement is a template whose placeholders are filled with
variables or with smaller expressions of the kind they name.
"""

import dataclasses
import random
import re

# kind -> expressions of that kind; {kind} is filled in, {N} {K} {c} {i} are numbers
EXPRESSIONS: dict[str, list[str]] = {
    "bn": """
        torch.tanh({bn}) | {bn} + {bn} | {bn} - {b1} | {bn} * torch.sigmoid({bn}) | -{bn}
        {bn} * {c} | {bnk}.mean(dim=-1) | {bnk}.norm(dim=-1) | {bnk}[..., {k}] | {bnk}[:, :, {k}]
        {bnk}.max(dim=-1).values | {bnk}.min(dim=2)[0] | torch.min({bnk}, dim=-1)[0]
        torch.where({mask}, {bn}, {bn}) | torch.where({mask}, {bn}, torch.zeros_like({bn}))
        {bn}.clamp(-1.0, 1.0) | {bn}.clamp(min=0.1) | torch.clamp({bn}, max={c})
        torch.softmax({bn}, dim=1) | {bn}.softmax(-1) | F.softmax({bn} / {c}, dim=-1)
        torch.log_softmax({bn}, dim=1) | {bnn}.sum(dim=-1) | {bnn}.mean(dim=1) | {bnn}.amax(dim=2)
        {bn}.masked_fill({mask}, {c}) | torch.gather({bn}, 1, {idx}) | {bn}.gather(1, {idx})
        torch.sort({bn}, dim=1)[0] | {bn}.sort(dim=1, descending=True).values
        torch.roll({bn}, {i}, dims=1) | torch.flip({bn}, dims=[1]) | torch.cumsum({bn}, dim=1)
        F.normalize({bn}, dim=-1) | F.normalize({bn}, p=1, dim=1) | {mask}.float() | (~{mask}).float()
        {bn} / ({bn}.abs().sum(dim=1, keepdim=True) + 0.1) | {bn} / ({b1}.abs() + 0.5)
        torch.cat([{bn}[:, 1:], {bn}[:, :1]], dim=1) | torch.minimum({bn}, {bn})
        torch.maximum({bn}, {b1}) | torch.einsum('bnk,bnk->bn', {bnk}, {bnk})
        torch.bmm({bnn}, {bn}.unsqueeze(-1)).squeeze(-1) | ({bnn} @ {bn}[..., None])[..., 0]
        F.one_hot({idx}, {N}).float().sum(dim=1) | ({bn}.abs() + 0.1).sqrt() | {bn} ** 2
        torch.log1p({bn}.abs()) | torch.exp(-{bn}.abs()) | {bn}[:, {perm}]
        torch.topk({bn}, {N}, dim=1)[0] | {b}.unsqueeze(1).expand(-1, {N}) | {b1}.repeat(1, {N})
        torch.diagonal({bnn}, dim1=1, dim2=2) | {idx}.float() / {N} | {bn}.relu() | F.gelu({bn})
        F.softplus({bn}) | F.elu({bn}) | F.leaky_relu({bn}, 0.1) | F.silu({bn}) | torch.floor({bn})
        {bn} - {bn}.mean(dim=1, keepdim=True) | {bn} - {bn}.max(dim=1, keepdim=True)[0]
        {bn}.detach() + {bn} | {bnk}.sum(2) | {bnk}.var(dim=-1) | {bnk}.std(-1, unbiased=False)
        torch.zeros_like({bn}).scatter(1, {bn}.argsort(dim=1, stable=True), {bn}) | {bn}.t().flip(0).t() | {bn}.add({bn})
        torch.stack([{b} for _ in range({N})], dim=-1) | torch.ones_like({bn}) * {b}[:, None]
        F.cosine_similarity({bnk}, {bnk}, dim=-1) | torch.logsumexp({bnk}, dim=-1) | {bnk}.prod(-1)
        torch.lerp({bn}, {bn}, 0.3) | {bn}.sign() * {bn} | torch.hypot({bn}, {bn} + 3.0)
        {bnk}.contiguous().median(dim=-1)[0] | {bn}.remainder(1.0) | {bn}.pow(3) * 0.1 | torch.sin({bn})
    """,
    "bnk": """
        x | x | torch.tanh({bnk}) | {bnk} * {bn}.unsqueeze(-1) | {bnk} - {bnk}.mean(dim=1, keepdim=True)
        F.normalize({bnk}, dim=-1) | {bnk} + {bnk} | {bnk}.flip(-1) | torch.softmax({bnk}, dim=-1)
        torch.bmm({bnn}, {bnk}) | {bnk}.abs() | {bnk}.transpose(1, 2).contiguous().transpose(1, 2)
        {bnk}.permute(0, 2, 1).permute(0, 2, 1) | {bnk}.clamp(-2, 2) | {bnk}[:, {perm}, :]
        torch.cat([{bnk}[..., :1], {bnk}[..., 1:]], dim=-1) | {bnk}.reshape(B, {N} * {K}).view(B, {N}, {K})
        torch.where({mask}.unsqueeze(-1), {bnk}, -{bnk}) | {bn}[:, :, None].expand(-1, -1, {K})
    """,
    "bnn": """
        torch.bmm({bnk}, {bnk}.transpose(1, 2)) / {K} | {bn}.unsqueeze(2) - {bn}.unsqueeze(1)
        torch.cdist({bnk}, {bnk}) | torch.softmax({bnn}, dim=-1) | {bnn}.transpose(1, 2)
        {bn}[:, :, None] * {bn}[:, None, :] | torch.exp(-{bnn}.abs()) | torch.tanh({bnn})
        {bnn}.masked_fill(torch.eye({N}, dtype=torch.bool), 0.0) | {bnn} * (1 - torch.eye({N}))
        torch.einsum('bik,bjk->bij', {bnk}, {bnk}) | torch.triu({bnn}) | torch.tril({bnn}, -1)
        ({bn}.unsqueeze(1) > {bn}.unsqueeze(2)).float() | F.one_hot({idx}, {N}).float()
        (({bnk}[:, :, None] - {bnk}[:, None]) ** 2).sum(-1)
    """,
    "b1": """
        {bn}.sum(dim=1, keepdim=True) | {bn}.mean(-1, keepdim=True) | {b}.unsqueeze(-1) | {b}[:, None]
        {bn}.max(dim=1, keepdim=True)[0] | {bn}[:, :1] | {bn}[:, -1:] | torch.tanh({b1})
        {bn}.amin(dim=1, keepdim=True) | {bn}.std(dim=1, keepdim=True) | {b1} * {b1} | {b}.reshape(B, 1)
        {mask}.any(dim=1, keepdim=True).float() | {b}.reshape(-1, 1) | {mask}.sum(1, keepdim=True) / {N}
    """,
    "b": """
        {bn}.sum(dim=1) | {bn}[:, {i}] | {bn}.mean(dim=-1) | {bnk}.mean(dim=(1, 2)) | {bnn}.sum((1, 2))
        {b1}.squeeze(-1) | {b1}[:, 0] | torch.sigmoid({b}) | {b} + {b} | {bn}.max(dim=1)[0]
        {bn}.norm(dim=1) | torch.logsumexp({bn}, dim=1) | ({bn} * {bn}).sum(-1) | {b1}.flatten()
        {bnk}.flatten(1).mean(1) | {bn}.unbind(1)[{i}] | {mask}.all(dim=1).float() | {b1}.reshape(-1)
        {mask}.sum(dim=1).float() | torch.where({rows}, {b}, {b} * 0.5) | {bn}.gather(1, {idx})[:, 0]
    """,
    "mask": """
        {bn} > 0 | {bn} <= {b1} | ({bn} > -0.5) & ({bn} < 0.5) | ~{mask} | {mask} | {mask}
        {bn} == {bn}.max(dim=1, keepdim=True)[0] | {idx} > 0 | {idx} == {i} | {bnk}[..., 0] >= {c}
        torch.logical_and({mask}, {mask}) | {bnn}.sum(-1) > 0 | ({bnk} > 0).any(dim=-1)
    """,
    "rows": "{b} > 0 | {mask}.any(dim=1) | {mask}.all(dim=-1) | {bn}[:, {i}] < {bn}[:, 0] | ~{rows}",
    "idx": """
        {bn}.argsort(dim=1, stable=True) | torch.argsort({bn}, dim=1, descending=True, stable=True) | {bnn}.argmax(dim=-1)
        torch.argmin({bnn}, dim=2) | torch.sort({bn}, dim=1, stable=True)[1] | ({bn} > 0).long()
        {bn}.clamp(0, {N} - 1).long() | torch.arange({N}).expand(B, -1) | {bn}.argsort(dim=-1, descending=True, stable=True)
        {bnk}.max(dim=2).indices % {N}
    """,
}
STATEMENTS = [
    "{new} = {x_bn}",
    "{new} = {x_bn}",
    "{new} = {x_bn}.clone()\n{new}[:, {i}] += {x_b}",
    "{new} = {x_bn}.clone()\n{new}[:, 1:] *= 0.5",
    "{new} = {x_bn}.clone()\n{new}[{x_mask}] = {c}",
    "{new} = {x_bn}.clone()\n{new}[{x_mask}] *= 0.5",
    "{new} = {x_bn}.clone()\nm = {x_mask}\nif m.any():\n    {new}[m] = {new}[m] * 0.5 + {c}",
    "{new} = {x_bn}.clone()\nu = {new}[:, {i}]\nu += {x_b}",
    "{new} = {x_bn}.clone()\nu = {new}[:, 1:]\nu.mul_(0.5)\nu[:, 0] = {c}",
    "{new} = {x_bn}.clone()\nr = {x_rows}\nif r.any():\n    {new}[r] = torch.softmax({new}[r], dim=1)",
    "{new} = {x_bn}.clone()\nr = {x_rows}\n{new}[r] = {x_bn}[r]",
    "{new} = {x_bn}.clone()\nr = {x_rows}\n{new}[r, {i}] = {c}",
    "{new} = torch.zeros(B, {N})\nfor i in range({N}):\n    {new}[:, i] = {x_b} * (i + 1)",
    "{new} = torch.ones_like({x_bn})\nfor i in range({N}):\n    {new}[:, i] = {new}[:, i] + {v_bn}[:, i]",
    "parts = []\nfor i in range({N}):\n    parts.append({v_bn}[:, i] * {c} + {x_b})\n{new} = torch.stack(parts, dim=1)",
    "parts = [{v_bn}[:, i:i + 1] for i in range({N})]\n{new} = torch.cat(parts, dim=1) * {c}",
    "acc = 0\nfor i in range({N}):\n    for j in range({N}):\n        if i == j:\n            continue\n"
    "        acc = acc + {v_bn}[:, i] * {v_bn}[:, j]\n{new} = acc.unsqueeze(1) * {x_bn}",
    "{new} = helper({x_bn}, {c})",
    "{new} = sum(helper({v_bn}, k * 0.5) for k in range(2))",
    "with torch.no_grad():\n    {new} = {x_bn}",
    "f = lambda t: t / (1 + t.abs())\n{new} = f({x_bn}) + f({x_bn})",
    "a, b = {v_bn}.max(dim=1)\n{new} = {x_bn} + a.unsqueeze(1) + 0.1 * b.unsqueeze(1)",
    "values, order = torch.sort({x_bn}, dim=1, stable=True)\n{new} = values * order.float()",
    "{new} = {x_bn} if B > 0 else {x_bn}",
    "d = {{'a': {x_bn}, 'b': {c} }}\n{new} = d['a'] * d['b']",
    "{new} = {x_bn}\n{new} = {new} + {x_bn}",
    "{new} = torch.zeros(B, {N}).scatter_add(1, {x_idx}, {x_bn})",
    "{new} = {x_bn}.clone()\n{new}[torch.arange(B), {x_idx}[:, 0]] = {c}",
    "{new} = {x_bn}.clone()\nfor i, w in enumerate([0.5, 1.0]):\n    {new}[:, i] = {new}[:, i] * w",
]
FINAL = """w = F.softplus(torch.tanh({x_bn})) + 0.05
w = w / w.sum(dim=1, keepdim=True)
return (w * agents_q).sum(dim=1, keepdim=True) + 0.1 * torch.tanh({x_b1})"""
HEAD = """import torch
import torch.nn.functional as F


def helper(t, scale):
    y = torch.tanh(t) * scale
    return y + 0.1


def program(agents_q, global_state):
    B, N = agents_q.shape
    x = global_state.view(B, N, -1)
"""


@dataclasses.dataclass(frozen=True)
class Program:
    """A random program: its statements, the last of which returns."""

    statements: tuple[str, ...]
    num_agents: int
    features: int

    @property
    def state_dim(self) -> int:
        return self.num_agents * self.features

    @property
    def source(self) -> str:
        lines = "\n".join(self.statements).split("\n")
        return HEAD + "".join(f"    {line}\n" for line in lines)


class _Writer:
    def __init__(self, seed: int, num_agents: int, features: int):
        self.rng = random.Random(seed)
        self.variables = ["agents_q", "agents_q", "x[..., 0]"]
        self.num_agents, self.features = num_agents, features
        self.options = {
            kind: [
                item.strip()
                for line in text.strip().split("\n")
                for item in line.split("|")
                if item.strip()
            ]
            if kind != "mask"
            else [item.strip() for line in text.strip().split("\n") for item in line.split(" | ")]
            for kind, text in EXPRESSIONS.items()
        }

    def expression(self, kind: str, depth: int) -> str:
        if kind == "bn" and (depth <= 0 or self.rng.random() < 0.25):
            return self.rng.choice(self.variables[-6:])
        if depth <= 0:
            simple = {"bnk": "x", "bnn": "torch.bmm(x, x.transpose(1, 2))", "b": "x[:, 0, 0]"}
            simple |= {"b1": "x[:, 0, :1]", "mask": "(x[..., 0] > 0)", "rows": "(x[:, 0, 0] > 0)"}
            return (simple | {"idx": "x[..., 0].argsort(dim=1, stable=True)"})[kind]
        template = self.rng.choice(self.options[kind])
        return self.fill(template, depth - 1, wrap=True)

    def fill(self, template: str, depth: int, wrap: bool = False) -> str:
        def replace(match: re.Match[str]) -> str:
            key = match[1]
            if key == "N":
                return str(self.num_agents)
            if key == "K":
                return str(self.features)
            if key == "c":
                return str(self.rng.choice([0.5, 0.25, 1.5, 2.0, 0.1]))
            if key == "i":
                return str(self.rng.randrange(self.num_agents))
            if key == "k":
                return str(self.rng.randrange(self.features))
            if key == "perm":
                return str(self.rng.sample(range(self.num_agents), self.num_agents))
            if key == "v_bn":
                return self.rng.choice(self.variables)
            if key.startswith("x_"):
                return self.expression(key[2:], 3)
            return self.expression(key, depth)

        text = re.sub(r"(?<!\{)\{(\w+)\}(?!\})", replace, template)
        text = text.replace("{{", "{").replace("}}", "}")
        return f"({text})" if wrap and re.search(r"[-+*/@<>=&~ ]", text) else text


def random_program(seed: int) -> Program:
    """The program of that seed; equal seeds give equal programs."""
    num_agents, features = [(3, 4), (2, 3), (4, 4)][seed % 3]
    writer = _Writer(seed, num_agents, features)
    statements = []
    for index in range(writer.rng.randint(2, 6)):
        new = f"v{index}"
        template = writer.rng.choice(STATEMENTS).replace("{new}", new)
        statements.append(writer.fill(template, 3))
        writer.variables.append(new)
    statements.append(writer.fill(FINAL, 3))
    return Program(tuple(statements), num_agents, features)


def minimise(program: Program, fails) -> Program:
    """Drop statements while the program still `fails`."""
    for index in reversed(range(len(program.statements) - 1)):
        kept = program.statements[:index] + program.statements[index + 1 :]
        shorter = dataclasses.replace(program, statements=kept)
        if fails(shorter):
            program = shorter
    return program
