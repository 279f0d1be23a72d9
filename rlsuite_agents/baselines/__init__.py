"""Other libraries' agents behind our contract."""
