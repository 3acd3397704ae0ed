"""What is measured of trajectories, one subject a file."""
