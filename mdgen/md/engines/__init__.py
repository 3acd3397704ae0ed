"""What moves replicas: torch, vector lanes on processors, OpenMM."""
