"""What methods of one kind share: spectral ones, those that cut widths, that hold weights as
products, that end early.

No family knows where a run takes place, or what is recorded of it.
"""
