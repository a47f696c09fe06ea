stack           = "obs"
nomad_namespace = "monitoring"
jwks_url        = "https://nomad.example.org:4646/.well-known/jwks.json"
