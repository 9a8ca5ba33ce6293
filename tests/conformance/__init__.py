"""What parts of others are held to: that ours hold it, and that what is wrong is found."""
