"""What people look at: terminal, pictures, page; each reads the records alone."""
