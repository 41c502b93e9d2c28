"""What a location is worth elsewhere: location features in a task of multi-label classification (GeoCLIP, table 3)."""
