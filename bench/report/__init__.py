"""From the finished cells of a sweep to its tables, figures and report.

No statistic is made here, only asked for.
"""
