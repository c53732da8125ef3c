"""Receives LiveKit's webhooks, decides what they mean for a room, and notes it for the pool."""
