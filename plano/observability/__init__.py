"""Measuring and recording requests: usage, logs, metrics and their prices."""
