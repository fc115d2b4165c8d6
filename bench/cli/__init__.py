"""The command line: thin verbs, whose heavy imports are inside them.

No verb does what a function elsewhere could.
"""
