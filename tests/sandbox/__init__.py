"""The sandbox upstream from outside: a real process, called over real HTTP."""
