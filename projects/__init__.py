"""Projects: one folder each, named by its slug in docs/roadmap.toml."""
