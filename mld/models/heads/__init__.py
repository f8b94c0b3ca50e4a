"""Output heads that turn hidden states of a backbone into something other than token logits."""
