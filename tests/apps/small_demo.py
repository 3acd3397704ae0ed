"""Settings of a demo that is over in seconds, without its four wells."""

SMALL_DEMO = [
    "lag_ps=1",
    "simulate.n_replicas=16",
    "simulate.length_ns=0.1",
    "simulate.equilibration_ns=0.01",
    "simulate.save_ps=1",
    "train_propagator.propagator.model.n_components=8",
    "train_propagator.propagator.model.hidden=[16,16]",
    "train_decoder.decoder.model.width=16",
    "train_decoder.decoder.model.n_evaluations=1",
    "generate.n_trajectories=8",
    "generate.length_ns=0.1",
    "evaluate.metrics.settings.resamples=20",
    "evaluate.metrics.settings.permutations=99",
]
