"""The manual: read these in order to learn what Rushes is."""
