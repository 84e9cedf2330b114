"""The jobs, a module each, and what they share. `qllm_jax.pipeline` offers them to everyone else.

    train, compare, generate, run, sweep, bench, resume, report      the jobs

    training_run    one training in its run directory: started, or continued where it stopped
    hosts_run       the same on several hosts, each with its share of the seeds
    hosts           who is who among several hosts
    directory       the directory of a job, and `job.yaml` in it
    artifacts       the TFCAF that a training mixes with, checked again
    checks          what can be known to fail, before anything is made
    outcome         what a job leaves; its report and final table
    reporting       from the parts' types to the plain values of a report
    interrupt       stopping cleanly at Ctrl-C

A job with several parts has a public function, which makes its directory, and one that works in it
(`compare_in`, `generate_in`, `run_in`, `sweep_in`), which `resume` calls too.
"""
