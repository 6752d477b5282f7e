"""Lets `python -m trtlab` stand for the `trtlab` command."""

from trtlab.cli import main

main()
