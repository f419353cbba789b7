"""What if the network were changed? One edit a file, called as `edit(draft, given)`: it changes a `Draft`, a copy in parts.

An edit records with `draft.say(words, code)` what it does, with the numbers; an edit that cannot be done raises an error
that says where the sizes part and what the smallest change would be that works. Opening, writing out and the receipt are not
its business.
"""
