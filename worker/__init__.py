"""The worker: buys generations, polls them, fetches the videos, delivers the ends of jobs."""
