"""The report as one page of HTML: what was compared, the verdict, the tables and charts behind it, and the cells.

No statistic is made here: all are asked for in ``compute.py``.
"""
