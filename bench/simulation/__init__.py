"""The round loop, readable as Algorithm 1 of the papers, what a round is, and the rows that are recorded of it.

It writes no file and starts no process.
"""
