"""The file formats of other programs, read in slices and written whole."""
