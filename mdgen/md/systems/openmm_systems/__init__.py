"""Systems of OpenMM: read into parameters of ours, written from them, and taken as they are."""
