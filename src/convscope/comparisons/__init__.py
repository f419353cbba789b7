"""What differs between two networks, or between checkpoints of one? One method a file."""
