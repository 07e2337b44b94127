"""How good a fill is: measures of one picture and of a set, and the same photos and masks for every method."""
