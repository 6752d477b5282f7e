"""Tests of build.py, by subject."""
