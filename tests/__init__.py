"""The manual and the proofs."""
