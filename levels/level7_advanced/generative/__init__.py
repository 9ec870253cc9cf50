"""Generative models: each is a `contract.Generative`, a Task and a way to sample.  Importing this imports none."""
