"""What a plug-in is called, made from and described by."""
