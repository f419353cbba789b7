"""Free a classifier from the size of its images.

forms.py      what each axis of a value is made of, so that a flattened map is still known as the map
freeing.py    one walk that writes anew what ties a draft to its training map
kinds.py, staying.py, inner.py, padding.py    which calls stay as they are, pool inside, or pad
heads.py      dense layers, global pooling, softmax at every place of a larger map
ending.py     a pooling whose result has one size; dilating.py  strides as dilations
"""
