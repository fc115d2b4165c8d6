"""What a sweep will take on this machine, before it is run: from finished cells, and from short runs of all kinds.

Nothing here is a result: a short run trains on generated data for a few steps and is thrown away.
"""
