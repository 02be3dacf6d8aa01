"""The pytest plugin of faultinject: ``pytest --fail-alloc``.

A front-end: it translates options, marks and items into what
`faultinject.campaign` understands, and records into what pytest shows.
"""
