"""The catalog: one module per family, each with a table `TASKS` of name to `Entry`.

Importing it builds nothing and does not import JaxMARL.
"""

from qllm_jax.tasks.catalog import matrix, mpe_spread
from qllm_jax.tasks.entry import Entry

ENTRIES: dict[str, Entry] = {
    **matrix.TASKS,
    **mpe_spread.TASKS,
}
