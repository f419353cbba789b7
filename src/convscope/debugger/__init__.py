"""Is somebody's own backpropagation right, and if not, which mistake is it?

verify.py        the question: forward arrays, then the loss, the deltas and the gradients; the first wrong one is blamed
arrays.py        files and names of arrays; layouts.py: their axes; problem.py: what was run on what
rounding.py      how far right arrays may be off; kinks.py: where rounding decides a branch
replay.py        a mistake made in the glass-box network; blame.py: which ones are tried; accuse.py: what is said
differences.py   a backward pass against central differences
doors.py         which of the two is asked

The mistakes themselves stand next to the operations that they belong to, in `operators/mistakes/`.
"""
