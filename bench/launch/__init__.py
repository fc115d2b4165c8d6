"""Running cells: one, or a sweep's, here, in processes beside, or on a cluster.

What a cell computes is the same wherever it runs.
"""
