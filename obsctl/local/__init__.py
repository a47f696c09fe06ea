"""The local one-node cluster, and the programs of the servers: found, downloaded or built."""
