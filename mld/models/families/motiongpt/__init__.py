"""MotionGPT: text and motion codes in one vocabulary."""
