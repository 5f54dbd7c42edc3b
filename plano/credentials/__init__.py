"""Keys: the headers that carry them, and the masking that keeps them out of everything else."""
