"""The drivers as they should be."""
