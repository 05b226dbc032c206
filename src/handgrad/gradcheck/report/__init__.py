"""What a check found, as data (`results`), as text (`table`) and as a picture."""
