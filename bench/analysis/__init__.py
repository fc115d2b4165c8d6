"""Tables and statistics: pure functions from DataFrame to DataFrame.

No simulation, no drawing.
"""
