"""From the name a client asked for to the targets it means."""
