"""How a stream is cut into frames."""
