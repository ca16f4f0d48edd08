"""Does the work: buys generations, looks at them, fetches the videos, tells the result hooks."""
