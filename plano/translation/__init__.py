"""Translation from one dialect to another, through the neutral model."""
