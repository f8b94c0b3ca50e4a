"""What a motion is: skeletons, rotations, Motion, representations, files. No learning here."""
