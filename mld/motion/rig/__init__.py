"""Skeletons of other makers: which joint is which, rest poses, retargeting, the SMPL body."""
