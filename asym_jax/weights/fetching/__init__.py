"""Published files: fetched, checked, and kept in one folder."""
