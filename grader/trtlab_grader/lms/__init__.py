"""To and from learning management systems: submissions in, grades out."""
