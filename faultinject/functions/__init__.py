"""What `fail_function` makes fail, and how.

Lives here, by file: the callables that a pattern names (`target`), the exceptions and values
that a text names (`fault`), the profiles (`profiles`), the marked functions (`injectable`),
how calls are seen and made to fail (`capability`, `watch`, `events`, `acts`), and imports
(`imports`, `guards`, `afresh`). Nothing is imported from here: each user names the file.
"""
