output "policies" {
  description = "Role -> its name in Nomad and in Consul, null where it needs nothing of that server."
  value = {
    for role in local.roles : role => {
      nomad  = try(nomad_acl_policy.role[role].name, null)
      consul = try(consul_acl_policy.role[role].name, null)
    }
  }
}

output "nomad_tokens" {
  description = "Role -> accessor of its Nomad token (variable tokens). Its secret: nomad acl token info ACCESSOR."
  value       = { for role, token in nomad_acl_token.role : role => token.accessor_id }
}

output "consul_tokens" {
  description = "Role -> accessor of its Consul token (variable tokens). Its secret: consul acl token read -accessor-id ACCESSOR."
  value       = { for role, token in consul_acl_token.role : role => token.accessor_id }
}

output "auth_method" {
  description = "Name of Consul's auth method for Nomad's workloads, null without workload_identity."
  value       = one(concat(consul_acl_auth_method.nomad[*].name, local.existing_method))
}
