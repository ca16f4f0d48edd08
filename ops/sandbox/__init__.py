"""The sandbox upstream: a real HTTP server that stands in for the paid video service.

It reads the wire contract on its own and shares no code with the worker, so that a mistake in one of the two is
caught by the other. It buys nothing, renders real mp4s, counts what it was asked to buy, and makes trouble on demand.
"""
