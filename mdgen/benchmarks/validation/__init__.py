"""What shows that the engine can be trusted: one file a fault, each with its figure and its bound."""
