"""Describes videos; untrusted bytes are decoded in an isolated process, never in the worker."""
