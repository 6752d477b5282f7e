"""The autograder: nbgrader extended by a sandbox, evidence from outside, and trusted scoring."""
