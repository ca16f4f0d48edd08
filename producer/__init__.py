"""Takes orders and answers questions: the service, and the faces over it."""
