"""Tests of mld.models."""
