"""Files: written whole or not at all, locked, and read without trusting them."""
