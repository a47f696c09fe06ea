"""Whether a running stack does its work: what is sent arrives, what should be scraped is, who should hear hears."""
