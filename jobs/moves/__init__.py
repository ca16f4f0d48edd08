"""What happens next to a job: pure decisions, a module for each part of its life. No clock, no dice, no network.

Each takes the job, a fact and what the deployment chose (`Policy`), and returns a `Move`, which the ledger applies.
"""
