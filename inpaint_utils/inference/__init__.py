"""Lesson 4: a trained generator fills photos of any size, beside the fills that learn nothing."""
