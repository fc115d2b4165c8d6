"""Processes of the harness: a line to each, what they leave behind, and how they ended, in words that help.

What they are asked to do is others' business.
"""
