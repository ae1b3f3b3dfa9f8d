"""One HTML page of a folder, to share."""
