"""Drills: everything dies at random while jobs are under way, and then each invariant is counted."""
