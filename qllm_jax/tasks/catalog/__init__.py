"""The catalog: one module per family, each with a table `TASKS` of name to `Entry`.

Importing it builds nothing and does not import JaxMARL.
"""

from qllm_jax.tasks.catalog import (
    hanabi,
    lbf,
    matrix,
    mpe_fixed,
    mpe_spread,
    mpe_talk,
    overcooked,
    overcooked_v2,
    riddle,
    smax,
)
from qllm_jax.tasks.entry import Entry

ENTRIES: dict[str, Entry] = {
    **hanabi.TASKS,
    **lbf.TASKS,
    **matrix.TASKS,
    **mpe_fixed.TASKS,
    **mpe_spread.TASKS,
    **mpe_talk.TASKS,
    **overcooked.TASKS,
    **overcooked_v2.TASKS,
    **riddle.TASKS,
    **smax.TASKS,
}
