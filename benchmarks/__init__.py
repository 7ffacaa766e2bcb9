"""One file a measured promise; `python -m benchmarks` prints a table and writes JSON.

Nothing here is asserted in the tests: timings belong to the machine. Each figure stands beside its bound.
"""
