"""What each model of the upstream accepts, and what is derived from it: validation, schemas, defaults, kinds."""
