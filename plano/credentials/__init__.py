"""Keys: the headers they travel in, and how they are kept out of everything else."""
