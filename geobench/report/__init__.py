"""Reports: results as rows, and rows as text, LaTeX, CSV, JSON or one HTML page."""
