"""Does the work: buys generations, polls them, fetches the videos, tells the result hooks."""
