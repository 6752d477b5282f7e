"""What is checked, and for how many points: pure functions from evidence to a verdict.

One module per lab. Imported by the notebooks (trtlab.lab) and by the grader alike, so that a
student sees the numbers that the instructor sees, and no threshold is written twice.
"""
