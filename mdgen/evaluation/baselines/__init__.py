"""The rows beside the generated trajectories: replicates, surrogates and floors."""
