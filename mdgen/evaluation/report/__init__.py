"""Plots, tables, caveats and the HTML page."""
