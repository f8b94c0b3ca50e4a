"""Clean-up of motion: floor, smoothing, feet that stay put."""
