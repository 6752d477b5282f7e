"""Tests of the notebooks: run, released, mutated, and in a browser."""
