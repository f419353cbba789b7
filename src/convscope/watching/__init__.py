"""What `convscope.watch` is made of: where its eye stands, what it samples and counts, and callbacks of other trainers."""
