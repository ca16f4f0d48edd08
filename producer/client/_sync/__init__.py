# Generated from `_async` by `make format`: change it there.
"""The client. `_sync` is generated from `_async` by `make format`."""
