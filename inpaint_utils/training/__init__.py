"""Lessons 2 and 3: one loss for both networks, and the callbacks that watch, keep and resume a training."""
