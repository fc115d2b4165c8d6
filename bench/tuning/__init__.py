"""Optuna studies over the parameters of methods, on held-out samples, with the same budget for each method.

Nothing here sees a test sample.
"""
