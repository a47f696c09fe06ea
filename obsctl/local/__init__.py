"""The local cluster, of one machine or several, and the programs of the servers: found, downloaded or built."""
