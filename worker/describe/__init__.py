"""Looking into videos: a stranger's bytes are decoded in a bounded process of its own, never in the worker."""
