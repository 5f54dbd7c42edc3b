"""Benchmarks of plano and its peers: `python -m benchmarks`, or `make bench`."""
