"""Published checkpoints into our networks: reading them safely, key maps, coverage."""
