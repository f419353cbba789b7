"""What does every operation compute, forward and backward, with the real numbers of a person's own network and images?

reading.py    the graph as calls of our operators: a glass-box network
capture.py    values, deltas and gradients of one run, as torch computes them in float64
loss.py       what the deltas are derivatives of
"""
