"""Tests of the prepare tools."""
