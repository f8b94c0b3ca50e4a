"""TMR and its relative for 272 columns (evaluation spec 2, 3)."""
