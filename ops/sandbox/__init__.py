"""The sandbox upstream: a real HTTP server that stands in for the paid video service.

It implements the wire contract separately and shares no code with the worker, so that each catches the other's
mistakes. It buys nothing, renders real mp4s, counts purchases, and injects faults on demand.
"""
