"""One method beside all others of a sweep: its cells on their settings, and the differences paired by seed.

Nothing is written where the others' cells lie, and no statistic is made here, only asked for.
"""
