"""Limits on what callers may use: rates, concurrency, budgets, and the admission of requests to this process."""
