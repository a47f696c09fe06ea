output "ruleset" {
  description = "The ruleset. Load it with nft -f; it replaces its own table and touches no other."
  value       = local.ruleset
}
