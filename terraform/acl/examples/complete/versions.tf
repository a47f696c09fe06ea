terraform {
  required_version = ">= 1.5"

  required_providers {
    nomad = {
      source  = "hashicorp/nomad"
      version = ">= 2.0"
    }
    consul = {
      source  = "hashicorp/consul"
      version = ">= 2.18"
    }
  }
}
