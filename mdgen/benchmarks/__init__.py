"""What the project measures of itself: speed, validation of the engine, systems with a known answer."""
