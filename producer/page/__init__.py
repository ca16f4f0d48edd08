"""The page at `/`: what an operator or a producer keeps open. Server-rendered, from files of ours alone."""
