"""Searches for hyperparameters, each a `contract.Tuner`: trials side by side in one program, resumable, exact budgets.

Importing this imports none of them.
"""
