"""Rounds passed on to other tools while they run: a CSV file, TensorBoard, Weights & Biases.

One file a tool. Nothing here changes or keeps a result: one that fails is left out from then on.
"""
