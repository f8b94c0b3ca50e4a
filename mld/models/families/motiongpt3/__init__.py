"""MotionGPT3: text and motion as two branches of one GPT-2, latents of whole clips from a diffusion head."""
