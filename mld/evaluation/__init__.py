"""Evaluation: protocol, draws, replications, rows of evaluators, state, reports. The numbers are in `mld.metrics`."""
