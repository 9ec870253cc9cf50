"""Pneumonia on chest radiographs: how good, how sure, and where the network looks."""
