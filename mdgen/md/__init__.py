"""The molecular-dynamics engine."""
