"""The container image: how it is built, how it is told healthy, how a stack of it plays with the sandbox."""
