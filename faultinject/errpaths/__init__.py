"""Coverage of error paths: which of the handlers in the code under test ever ran.

In the order in which a campaign uses them: ``path`` says what an error path is, ``find``
reads a source and lists its paths without importing it, ``exclusion`` asks coverage.py
which of them do not count, ``observe`` notices the ones that run.
"""
