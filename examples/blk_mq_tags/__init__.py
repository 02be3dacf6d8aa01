"""A block device's tag set in the manner of blk-mq, ported to Python.

Not an example with planted bugs: this is an attempt to write it right, from what is publicly
known of how the block layer does it, in our own words. README.md says what the sweep found in it.
"""
