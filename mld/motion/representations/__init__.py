"""Motion as feature rows: named blocks, joints and rotations to features and back."""
