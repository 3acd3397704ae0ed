"""How fast the engine is, side by side with others: each engine in processes of its own, turn by turn."""
