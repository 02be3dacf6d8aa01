"""What can fail: one file per capability, and the registry that other packages join.

Each name is imported from the module that holds it.
"""
