"""Drills: processes are killed at random while jobs run, then every invariant is checked."""
