"""Networks only: tokenizers, backbones, heads, evaluators, and one file per family that joins them."""
