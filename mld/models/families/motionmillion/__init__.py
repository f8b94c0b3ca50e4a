"""MotionMillion: a LLaMA over text features and motion codes (Fan et al. 2025)."""
