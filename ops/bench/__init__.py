"""`make bench`: compares the costs of Rushes and of other task queues for the same jobs."""
