"""What is known before any model: topology, torsions, features."""
