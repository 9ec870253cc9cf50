"""Environments: `env` (what one is, many at once), `gymnax_env` (those of gymnax), `probes` (with known answers)."""
