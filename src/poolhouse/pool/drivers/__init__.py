"""What differs between database drivers."""
