"""LightningModules, callbacks and stages."""
