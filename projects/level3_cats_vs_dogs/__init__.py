"""Cats against dogs from few pictures: a network that knows other animals, and one that knows nothing."""
