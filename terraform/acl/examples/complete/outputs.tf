output "policies" {
  description = "The policies' names."
  value       = module.acl.policies
}

output "deploy_tokens" {
  description = "Accessors of the tokens with which CI deploys."
  value       = { nomad = module.acl.nomad_tokens["deploy"], consul = module.acl.consul_tokens["deploy"] }
}
