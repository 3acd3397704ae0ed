"""Estimators: histograms, intervals, Markov models, slow coordinates."""
