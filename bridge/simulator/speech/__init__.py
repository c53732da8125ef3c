"""The simulator's lines, rendered: one `.adpcm` file each, and the script that makes them."""
