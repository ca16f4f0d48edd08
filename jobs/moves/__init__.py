"""Pure decisions about a job's next move, one module for each part of its life. No clock, no dice, no network.

Each gets the job, a fact and the deployment's `Policy`, and returns a `Move`, which the ledger applies.
"""
