"""Singular values and what is made of them: decompositions, inclusion probabilities, samplers and their errors.

Pure functions of tensors; no models, no randomness but the generator that is passed.
"""
