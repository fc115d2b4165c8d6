"""Data, model, loss and settings of local training: all that a method may not touch.

One file a task; no task knows a method.
"""
