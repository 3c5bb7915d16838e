"""Pictures and labels: datasets, their files read as data, what is checked of them, how they are prepared."""
