"""The simulator's rooms; `import stragglersim` is the way in."""
