"""Prometheus, Grafana, and the drill that fires each alarm."""
