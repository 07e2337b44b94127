"""Lesson 1: photos, their holes and edges, and the batches that the networks are shown."""
