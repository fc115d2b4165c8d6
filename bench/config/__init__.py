"""From what a user writes to checked cells, or to one sentence that says what is wrong with it.

Nothing is run or written here.
"""
