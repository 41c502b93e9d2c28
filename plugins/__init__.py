"""The bundled models and encoders, one file each; they come in by entry point, exactly as anyone else's."""
