"""Who holds which samples and has what capacity: partitions, held-out samples, cohorts.

None of it depends on the method.
"""
