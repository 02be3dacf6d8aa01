"""A small store that keeps its promises through crashes, and one that does not.

`right` and `wrong` differ in two ``except`` clauses; ``diff -u right.py wrong.py`` shows them.
The bugs are planted, and listed in planted.toml.
"""
