"""What methods of one kind share: spectral ones, those that cut widths, those that hold weights as products.

No family knows where a run takes place, or what is recorded of it.
"""
