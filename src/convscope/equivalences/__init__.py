"""Is it the same? Identities between operations, proved on the user's own layer with the user's own numbers."""
