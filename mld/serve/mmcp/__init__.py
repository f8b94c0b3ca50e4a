"""MMCP, the contract that add-ons of animation programs speak: motion for the skeleton that a client sends."""
