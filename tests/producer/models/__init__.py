"""Proofs of what each model accepts."""
