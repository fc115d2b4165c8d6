"""Method plugins, one file each; a file dropped here is found without registration."""
