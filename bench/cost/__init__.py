"""What a sub-model costs, counted from the sub-model itself: parameters, operations, activations, bytes.

No formula stands in for a count.
"""
