"""What people read of a grading run: a feedback page per student, a report on the class.

Both are single HTML files without scripts, made from LabRecords and the gradebook. Nothing is
graded here, and everything that a student wrote is text to be escaped.
"""
