"""Lesson 2: the two networks, and the frozen one that compares pictures; no photo is opened and no loss computed."""
