"""HTTP towards clients: endpoints, bodies, and how responses are sent."""
