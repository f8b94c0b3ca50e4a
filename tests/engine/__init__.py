"""Tests of mld.engine."""
