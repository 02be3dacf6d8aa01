"""What `fail_function` makes fail: the names, the faults, the tables, the marks.

Lives here, by file: the callables that a pattern names (`target`), the exceptions and values
that a text names (`fault`), the profiles (`profiles`) and the marked functions
(`injectable`). Nothing is imported from here: each user names the file.
"""
