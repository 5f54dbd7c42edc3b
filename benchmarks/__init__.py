"""How fast plano is, and beside what: `python -m benchmarks`, or `make bench`."""
