"""What whole trajectories cost: evaluations of the network, training, decoding, beside the engine's own cost."""
