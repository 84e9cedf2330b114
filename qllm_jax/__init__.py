"""QLLM-JAX: a language model writes the credit-assignment function; JAX trains the team with it.

task ──► prompt ──► coder (LLM) ──► translate ──► verify ──► evaluate ──► TFCAF artifact
                        ▲               │            │           │              │
                        └── feedback ◄──┴────────────┴───────────┘              ▼
                                              compiled trainer: env + agents + TFCAF
                                              vmap [candidates × seeds], sharded
                                                                                │
                                              run directory ──► statistics ──► report
"""
