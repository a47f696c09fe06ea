variable "stack" {
  description = "Name of the stack, as in obsctl.yaml."
  type        = string
}

variable "nomad_namespace" {
  description = "Nomad's namespace of the stack."
  type        = string
}

variable "jwks_url" {
  description = "Nomad's keys, as Consul's servers reach them."
  type        = string
}
