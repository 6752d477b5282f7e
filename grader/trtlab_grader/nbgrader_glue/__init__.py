"""What makes nbgrader trtlab's: preprocessors, settings, and the one writer of the gradebook."""
