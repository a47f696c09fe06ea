# Three servers and three clients. The keys and tokens come from the environment: TF_VAR_consul_tokens='{...}'.
nodes = {
  server-1 = { address = "10.0.1.11", server = true }
  server-2 = { address = "10.0.1.12", server = true }
  server-3 = { address = "10.0.1.13", server = true }
  client-1 = { address = "10.0.1.21", server = false }
  client-2 = { address = "10.0.1.22", server = false }
  client-3 = { address = "10.0.1.23", server = false }
}
