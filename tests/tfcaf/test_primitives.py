"""What translates can be verified: every operation's program holds known primitives only."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tfcaf_expressions as table
import tfcaf_oracles as oracles
import tfcaf_torch_table as torch_table

from qllm_jax.tfcaf import TranslationError, translate
from qllm_jax.verify.static import primitives_check
from qllm_jax.verify.worker import trace

IMPORTS = {
    "np": "import numpy as np",
    "jnp": "import jax\nimport jax.numpy as jnp\nfrom jax import lax",
}
MODULES = {"np": {"np": np}, "jnp": {"jnp": jnp, "jax": jax, "lax": jax.lax}}
OWN = {"np": table.NUMPY_ONLY, "jnp": table.JNP_ONLY}


def _sources(dialect):
    if dialect == "torch":
        for name, answer in torch_table.golden().items():
            yield name, torch_table.source(name, answer["size"])
        return
    for expression in table.expressions(table.COMMON) + table.expressions(OWN[dialect]):
        spelled = table.spelled(expression, dialect)
        size = oracles.size_of(spelled, MODULES[dialect])
        yield spelled, table.source(spelled, size, IMPORTS[dialect])


@pytest.mark.nightly
@pytest.mark.parametrize("dialect", ["torch", "np", "jnp"])
def test_every_operation_of_the_tables_is_made_of_allowed_primitives(dialect):
    unknown = {}
    with np.errstate(all="ignore"):
        for name, source in _sources(dialect):
            check = primitives_check(*trace(translate(source, 3, 12).source, 3, 12))
            if not check.passed:
                unknown[name] = check.detail
    assert not unknown


@pytest.mark.parametrize(
    "called",
    [
        "np.linalg.inv(x[:, :3])",
        "np.linalg.solve(x[:, :3], q)",
        "np.linalg.slogdet(x[:, :3])[1]",
        "np.linalg.cholesky(x[:, :3])",
        "np.corrcoef(x)",
    ],
)
def test_direct_linear_algebra_is_allowed(called):
    size = {"np.linalg.solve(x[:, :3], q)": 3, "np.linalg.slogdet(x[:, :3])[1]": 1}.get(called, 9)
    source = table.source(called, size, IMPORTS["np"])
    check = primitives_check(*trace(translate(source, 3, 12).source, 3, 12))
    assert check.passed, check.detail


@pytest.mark.parametrize(
    "called",
    [
        "np.linalg.eigvalsh(x[:, :3])",
        "np.linalg.eigh(x[:, :3], UPLO='U')[0]",
        "np.linalg.svd(x, compute_uv=False)",
        "np.linalg.pinv(x)",
        "np.linalg.qr(x)[1]",
        "np.linalg.norm(x, 2)",
        "np.linalg.norm(x, 'nuc')",
    ],
)
def test_what_iterates_is_refused_at_translation(called):
    with pytest.raises(TranslationError) as refused:
        translate(table.source(called, 1, IMPORTS["np"]), num_agents=3, state_dim=12)
    assert refused.value.rule == "factorisation"
    assert refused.value.line
