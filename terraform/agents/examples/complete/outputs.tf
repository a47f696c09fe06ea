output "files" {
  description = "The files that were written."
  value       = sort(concat(keys(local.plain), tolist(local.secret)))
}

output "folders" {
  description = "Client -> path -> owner and mode of each folder that must be there before Nomad starts on it."
  value       = { for node, agents in module.agents : node => agents.folders if !var.nodes[node].server }
}
