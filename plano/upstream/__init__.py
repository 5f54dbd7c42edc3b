"""The last link of the pipeline: sends a request to its target and wraps its answer."""
