"""One HTML page of a folder, to hand round."""
