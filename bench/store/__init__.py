"""Cells on disk, whole or not there: identity, leases, checkpoints, tables and where they came from.

Nothing here knows what a number means.
"""
