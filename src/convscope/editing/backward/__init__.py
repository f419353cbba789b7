"""Send values back through a draft.

backwards.py     every call applied backwards, as calls of the same graph
derivatives.py   the derivative of every nonlinearity that has a name
encoder.py       where the feature detector ends, and the maps on the way
"""
