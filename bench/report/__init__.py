"""From the finished cells of a sweep to its tables and figures.

No statistic and no picture is made here, only asked for.
"""
