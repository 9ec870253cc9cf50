"""A small GPT as a language model of one book."""
