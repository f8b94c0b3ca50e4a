"""What networks promise: to training, to the engine, to evaluation. Checked when a class is defined."""
