"""`make bench`: what Rushes and others pay for the same job, side by side."""
