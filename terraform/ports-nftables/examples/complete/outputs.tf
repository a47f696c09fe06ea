output "ruleset" {
  description = "The ruleset of each node."
  value       = module.ports.ruleset
}
