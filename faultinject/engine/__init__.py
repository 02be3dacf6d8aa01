"""The rule: attributes, spec text, per-task state, and the log of what was injected.

Each name is imported from the module that holds it.
"""
