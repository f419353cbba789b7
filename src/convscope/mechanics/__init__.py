"""What does every operation compute, forward and backward, with the real numbers of a person's own network and images?

reading.py    the graph as calls of our operators: a glass-box network, and a name for every value
capture.py    values, deltas and gradients of one run, as torch computes them in float64; loss.py: derivatives of what
steps.py      one number worked out; update.py: one training step; backward.py: the sizes of the backward pass
engine.py     a network trained by our own operators
"""
