"""The one command line, `oa`: starts and watches the parts, moves data, launches jobs.

Knows every room by name and imports each only inside the command that needs it, so that `oa --help` is quick and a
machine needs only the extras of what it runs.
"""
