"""The sandbox upstream, from outside: a real process, asked over real HTTP."""
