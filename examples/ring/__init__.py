"""The receive ring of a small network driver, four ways to live with a failed allocation.

Each module of `ring.right` has a twin in `ring.wrong` with a bug that real drivers have had;
``diff -u right/top.py wrong/top.py`` shows it. The bugs are planted, and listed in planted.toml.
"""
