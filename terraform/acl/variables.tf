variable "stack" {
  description = "Name of the stack, as in obsctl.yaml."
  type        = string
  default     = "obs"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,31}$", var.stack))
    error_message = "stack must be the name in obsctl.yaml: a lower-case letter followed by letters, digits and hyphens."
  }
}

variable "nomad_namespace" {
  description = "Nomad's namespace of the stack, as nomad.namespace in obsctl.yaml."
  type        = string
  default     = "default"

  validation {
    condition     = can(regex("^[A-Za-z0-9-]{1,128}$", var.nomad_namespace))
    error_message = "nomad_namespace must be letters, digits and hyphens."
  }
}

variable "people" {
  description = "Roles of people that are made: deploy, plan, drill, read. Each is a policy and a role in Nomad and in Consul."
  type        = set(string)
  default     = ["deploy", "plan", "drill", "read"]

  validation {
    condition     = length(setsubtract(var.people, ["deploy", "plan", "drill", "read"])) == 0
    error_message = "people must be among deploy, plan, drill and read."
  }
}

variable "dynamic_volumes" {
  description = "Whether the stack has dynamic volumes (storage.kind: dynamic). Needs Nomad 1.10: an older one refuses the policy."
  type        = bool
  default     = false
}

variable "tokens" {
  description = "Roles for which a token of Nomad and one of Consul is made as well. The secret of Nomad's is in Terraform's state: keep that where few can read it."
  type        = set(string)
  default     = []

  validation {
    condition     = length(setsubtract(var.tokens, ["deploy", "plan", "drill", "read", "warden", "prometheus", "demo", "tasks"])) == 0
    error_message = "tokens must be among deploy, plan, drill, read, warden, prometheus, demo and tasks."
  }
}

variable "workload_identity" {
  description = <<-EOT
    How Consul recognises the stack's programs by the identity that Nomad 1.7 and newer gives their tasks.
    jwks_url: Nomad's keys, as Consul's servers reach them: https://nomad.example.org:4646/.well-known/jwks.json.
    jwks_ca_cert: PEM of the authority of that address. audience: of the identities. auth_method: its name in Consul.
    create_auth_method: false where Consul has it already, from another stack or from `nomad setup consul`.
    Null: none; the programs then need tokens.
  EOT
  type = object({
    jwks_url           = optional(string)
    jwks_ca_cert       = optional(string)
    audience           = optional(string, "consul.io")
    auth_method        = optional(string, "nomad-workloads")
    create_auth_method = optional(bool, true)
  })
  default = null

  validation {
    condition     = try(!var.workload_identity.create_auth_method, true) || can(regex("^https?://[^/]+/", var.workload_identity.jwks_url))
    error_message = "workload_identity.jwks_url must be an address such as https://nomad.example.org:4646/.well-known/jwks.json."
  }

  validation {
    condition     = var.workload_identity == null || can(regex("^[A-Za-z0-9-]{1,128}$", var.workload_identity.auth_method))
    error_message = "workload_identity.auth_method must be letters, digits and hyphens."
  }
}
