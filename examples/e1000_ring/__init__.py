"""The open and close path of an e1000-style network driver, ported to Python.

Not an example with planted bugs: this is an attempt to write it right, from what is publicly
known of how such drivers are built, in our own words. README.md says what the sweep found in it.
"""
