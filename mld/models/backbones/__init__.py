"""Language models that speak motion: T5 and GPT-2 with a motion vocabulary."""
