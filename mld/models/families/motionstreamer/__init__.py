"""MotionStreamer: latents of a causal auto-encoder, one after the other, each drawn by a diffusion head."""
