"""Weights that an edit makes, joins or freezes.

starting.py     fans, gains, and the scale that gives unit variance
banks.py        Gabor functions and oriented derivatives
unlabelled.py   filters learned from images without labels
folding.py      two layers as one linear map; freezing.py  no gradients, fixed statistics
"""
