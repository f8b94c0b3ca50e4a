"""MBench (ViMoGen, arXiv 2510.26794): nine dimensions of motions made for given prompts. `mbench-motion` in the docs,
as another benchmark has the same name."""
