"""Probability: distributions, moments, Bayes' rule, maximum likelihood."""
