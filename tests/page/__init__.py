"""The page at `/`, as a browser shows it."""
