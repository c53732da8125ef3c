"""Decides which carrier holds which room, and that only one does."""
