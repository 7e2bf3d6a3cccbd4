"""Where the organs lie: masks given for a case, and boxes in the world from them. Knows no torch."""
