"""Graph networks: the graph type, layers, link prediction and its metrics.  Importing this imports none."""
