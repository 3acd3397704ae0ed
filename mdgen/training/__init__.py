"""How parts are trained, under Lightning."""
