"""Streamed replies on their way from an upstream to a client."""
